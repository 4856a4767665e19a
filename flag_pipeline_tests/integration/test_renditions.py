"""Renditions and releases through Dagster and the command line, on a real server."""

import os
import signal
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor

from flag_pipeline.cli.app import app
from flag_pipeline.cli.errors import EXIT_INTERRUPTED, exit_code_of
from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.keys import FLAG_RELEASE, FLAG_RENDITION, RENDITION_CATALOG
from flag_pipeline.settings import Settings, load_settings
from flag_pipeline_tests.flag_server import Answer, FlagServer, answer
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.shell import Shell

SIX = "w40,w80,w160,square64,circle64,pad64"
FOUND = ("CN", "DE", "FR")


@pytest.fixture
def flags(flag_server: FlagServer, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> FlagServer:
    """A source with large flags of three countries, six renditions, and the three flags in the store."""
    for number, code in enumerate(FOUND):
        flag_server.script(f"/{code.lower()}/{code.lower()}.gif", [large(number)])
    monkeypatch.setenv("FLAG_SOURCE", flag_server.url)
    monkeypatch.setenv("FLAG_ATTEMPTS", "1")
    monkeypatch.setenv("FLAG_RENDITIONS", SIX)
    shell("run", *FOUND)
    return flag_server


def large(number: int) -> Answer:
    """An answer with a flag of 300x200 pixels."""
    colours = [f"#{number:02}8040", "white", f"#40{number:02}80"]
    return answer(200, striped(*colours, kind="GIF", size=(300, 200)), Content_Type="image/gif")


def test_one_damaged_flag_fails_alone(flags: FlagServer, shell: Shell) -> None:
    """The others have their renditions, and the failure says what to do."""
    next((shell.store / "flags").glob("DE-*")).write_bytes(b"damaged")

    report = shell.json("render", *FOUND, expect=1)

    assert (report["made"], list(report["failed"])) == (2, ["DE"])
    assert "fetch DE again" in report["failed"]["DE"]["reason"]
    assert sorted(path.name for path in (shell.store / "renditions" / "w160").iterdir()) == ["CN.png", "FR.png"]
    flags.break_country("CN", answer(500))
    shell("run", "DE")
    assert shell.json("render", *FOUND)["made"] == 1


def test_page_offers_the_renditions(flags: FlagServer, shell: Shell) -> None:
    """The details of a country have their addresses and sizes as soon as they are made."""
    details = shell.store / "catalog/details/0.js"
    assert flags.url
    assert "renditions" not in details.read_text()

    shell("render", *FOUND)

    assert '"w160, 160 x 107 px":"../renditions/w160/CN.png"' in details.read_text()


def test_countries_without_a_flag_are_no_failures(flags: FlagServer, shell: Shell) -> None:
    """The whole world is asked for; three have a flag."""
    assert flags.url

    report = shell.json("render")

    assert (report["made"], len(report["without_flag"]), report["failed"]) == (3, 246, {})


def test_without_a_change_no_file_of_the_store_is_touched(flags: FlagServer, shell: Shell) -> None:
    """Run, render and release write nothing; `test_all_flags.py` has what they write when a flag changes."""
    assert flags.url
    commands = [("run", *FOUND), ("render", *FOUND), ("release",)]
    # The first round ends with renditions that the catalog does not know yet.
    for command in 2 * commands:
        shell(*command)
    before = shell.stats()

    for command in commands:
        shell(*command)

    assert shell.stats() == before


def test_interrupted_release_says_so(
    flags: FlagServer, shell: Shell, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is no failure of the release."""
    assert flags.url
    shell("render", *FOUND)

    def interrupt(*_given: object) -> bytes:
        os.kill(os.getpid(), signal.SIGINT)
        return b""

    monkeypatch.setattr("flag_pipeline.catalog.release.render_manifest", interrupt)

    assert exit_code_of(lambda: app(["release"])) == EXIT_INTERRUPTED
    assert "see the run" not in capfd.readouterr().err


def test_release_has_the_renditions_of_the_settings(
    flags: FlagServer, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of earlier settings would be mixed with the new ones."""
    assert flags.url
    shell("render", *FOUND)
    monkeypatch.setenv("FLAG_RENDITIONS", "w40,pad32")
    shell("render", "CN")

    assert "of DE, FR; first run flag-pipeline render" in str(shell("release", expect=1).exception)
    shell("render", *FOUND)
    assert shell.json("release")["n_files"] == 15


def test_release_is_verified(flags: FlagServer, shell: Shell) -> None:
    """A whole one says how many files it has, a damaged one which file differs, with exit code 1."""
    assert flags.url
    shell("render", *FOUND)
    archive = Path(shell.json("release")["file"])

    assert "is whole: 27 files" in shell("verify", str(archive)).stdout
    archive.write_bytes(archive.read_bytes().replace(b"flag-square", b"flag-oblong"))
    assert "release/flags.css" in shell("verify", str(archive), expect=1).stderr


def test_release_without_a_rendition_of_each_flag_is_refused(flags: FlagServer, shell: Shell) -> None:
    """One line says which are missing and what to run."""
    assert flags.url
    shell("render", "CN", "DE")

    result = shell("release", expect=1)

    assert "of FR; first run flag-pipeline render" in str(result.exception)


def test_render_without_renditions_says_what_to_set(shell: Shell) -> None:
    """It is off by default."""
    assert "FLAG_RENDITIONS" in str(shell("render", expect=1).exception)


def test_without_the_setting_there_are_no_rendition_assets() -> None:
    """The UI does not show what is not wanted."""
    keys = build_definitions(load_settings()).resolve_asset_graph().get_all_asset_keys()

    assert {FLAG_RELEASE} <= keys
    assert not {FLAG_RENDITION, RENDITION_CATALOG} & keys


@pytest.fixture
def settings(flag_server: FlagServer, store: Path) -> Settings:
    """Settings for the test's own server and store, with one rendition."""
    return load_settings(source=flag_server.url, store=str(store), attempts=1, renditions="w8")


def execute(instance: dg.DagsterInstance, settings: Settings, job: str, *codes: str) -> dg.ExecuteInProcessResult:
    """Run a job for a list of countries."""
    lists = {"refresh_flags": {"fetch_flags": "countries"}, "render_flags": {"flag_rendition": "partition_keys"}}
    ops = {op: {"config": {field: list(codes)}} for op, field in lists[job].items()}
    definition = build_definitions(settings).resolve_job_def(job)
    config = {"ops": ops, "loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    return definition.execute_in_process(instance=instance, run_config=config, raise_on_error=False)


def requested(
    instance: dg.DagsterInstance, settings: Settings, cursor: AssetDaemonCursor | None
) -> tuple[set[str], AssetDaemonCursor]:
    """The countries whose renditions the automation asks for, and the cursor of its next tick."""
    result = dg.evaluate_automation_conditions(
        build_definitions(settings), instance, dg.AssetSelection.assets(FLAG_RENDITION), cursor=cursor
    )
    return {str(key) for key in result.get_requested_partitions(FLAG_RENDITION)}, result.cursor


def test_automation_follows_changed_flags_alone(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """New flags, then none, then the one that changed; an unchanged one is not asked for."""
    _, cursor = requested(instance, settings, None)
    execute(instance, settings, "refresh_flags", "CN", "FR")
    first, cursor = requested(instance, settings, cursor)
    assert execute(instance, settings, "render_flags", *first).success
    idle, cursor = requested(instance, settings, cursor)
    flag_server.script("/fr/fr.gif", [large(9)])
    execute(instance, settings, "refresh_flags", "CN", "FR")
    changed, cursor = requested(instance, settings, cursor)

    assert (first, idle, changed) == ({"CN", "FR"}, set(), {"FR"})


def test_automation_leaves_countries_without_a_flag(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """A country that was not found has nothing to draw, now or at the next tick."""
    _, cursor = requested(instance, settings, None)
    flag_server.break_country("DE", answer(404))
    execute(instance, settings, "refresh_flags", "DE", "FR")
    first, cursor = requested(instance, settings, cursor)
    again, _ = requested(instance, settings, cursor)

    assert first == {"FR"}
    assert "DE" not in again


def test_partition_shows_its_files(instance: dg.DagsterInstance, settings: Settings) -> None:
    """The UI has a table of the renditions."""
    execute(instance, settings, "refresh_flags", "FR")

    run = execute(instance, settings, "render_flags", "FR")

    (event,) = run.asset_materializations_for_node("flag_rendition")
    assert event.partition == "FR"
    table = event.metadata["files"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data["file"] for record in table.records] == ["renditions/w8/FR.png"]
    assert instance.get_materialized_partitions(FLAG_RENDITION) == {"FR"}
