"""A flag that changes at the source: kept, told once, shown and warned of."""

import csv
import hashlib
from pathlib import Path

import dagster as dg
import pytest

from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.changes import NO_FLAG_CHANGED
from flag_pipeline.defs.keys import FLAG_CHANGES
from flag_pipeline.settings import Settings, load_settings
from flag_pipeline_tests.flag_server import FlagServer, answer, flag_url_path
from flag_pipeline_tests.records import striped

QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
CODES = ["CN", "FR", "US"]


@pytest.fixture
def settings(flag_server: FlagServer, store: Path) -> Settings:
    """Settings for the test's own server and store."""
    return load_settings(source=flag_server.url, store=str(store), attempts=1, history_keep=2)


def refresh(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Fetch the three countries."""
    job = build_definitions(settings).resolve_job_def("refresh_flags")
    config = {**QUIET, "ops": {"fetch_flags": {"config": {"countries": CODES}}}}
    assert job.execute_in_process(instance=instance, run_config=config).success


def rebuild(instance: dg.DagsterInstance, settings: Settings) -> dg.ExecuteInProcessResult:
    """Derive the catalog and the history."""
    job = build_definitions(settings).resolve_job_def("rebuild_catalog")
    result = job.execute_in_process(instance=instance, run_config=QUIET)
    assert result.success
    return result


def check_of(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    """The result of the check that warns of changes."""
    return next(each for each in result.get_asset_check_evaluations() if each.check_name == NO_FLAG_CHANGED)


def change_flag(flag_server: FlagServer, code: str, *colours: str) -> bytes:
    """Serve another flag for the country, and return it."""
    content = striped(*colours, kind="GIF")
    flag_server.script(flag_url_path(code), [answer(200, content)])
    return content


def history_of(store: Path) -> list[dict[str, str]]:
    """The rows of the CSV file of changes."""
    with (store / "history" / "changes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_changed_flag_is_one_row_with_its_old_picture(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer, store: Path
) -> None:
    """The old bytes are kept under their hash, the row has both hashes, and a second refresh adds nothing."""
    refresh(instance, settings)
    old = next((store / "flags").glob("FR-*")).read_bytes()
    new = change_flag(flag_server, "FR", "red", "gold")
    refresh(instance, settings)
    refresh(instance, settings)
    rebuild(instance, settings)

    rows = history_of(store)

    assert [row["code"] for row in rows] == ["FR"]
    assert rows[0]["old_sha256"] == hashlib.sha256(old).hexdigest()
    assert rows[0]["new_sha256"] == hashlib.sha256(new).hexdigest()
    assert int(rows[0]["distance_bits"]) > 0
    assert (store / rows[0]["old_file"]).read_bytes() == old
    assert next((store / "flags").glob("FR-*")).read_bytes() == new


def test_the_check_warns_once_and_names_who_changed(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """No warning at first, a warning for the change, none when nothing has changed since."""
    refresh(instance, settings)
    first = check_of(rebuild(instance, settings))
    change_flag(flag_server, "FR", "red", "gold")
    refresh(instance, settings)
    second = check_of(rebuild(instance, settings))
    third = check_of(rebuild(instance, settings))

    assert (first.passed, second.passed, third.passed) == (True, False, True)
    assert second.severity is dg.AssetCheckSeverity.WARN
    assert second.description == "1 flag changed: FR"


def test_before_and_after_are_shown_in_the_metadata(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """The asset's metadata has one picture of both flags, and columns with their meaning."""
    refresh(instance, settings)
    change_flag(flag_server, "FR", "red", "gold")
    refresh(instance, settings)
    rebuild(instance, settings)

    event = instance.get_latest_materialization_event(FLAG_CHANGES)

    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    shown = str(metadata["before_after"].value)
    assert "FR France" in shown
    assert shown.count("](data:image/png;base64,") == 1
    assert metadata["dagster/row_count"].value == metadata["n_new"].value == 1


def test_retention_drops_the_oldest_pictures(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer, store: Path
) -> None:
    """With two to keep, three changes leave two rows and their two pictures; the catalog goes on counting."""
    refresh(instance, settings)
    for colour in ("green", "blue", "black"):
        change_flag(flag_server, "FR", colour, "gold")
        refresh(instance, settings)
    rebuild(instance, settings)

    rows = history_of(store)
    with (store / "catalog" / "catalog.csv").open(newline="") as file:
        n_changes = {row["code"]: row["n_changes"] for row in csv.DictReader(file)}

    assert len(rows) == 2
    assert {f"history/FR/{path.name}" for path in (store / "history" / "FR").iterdir()} == {
        row["old_file"] for row in rows
    }
    assert (n_changes["FR"], n_changes["CN"]) == ("3", "0")


def test_a_flag_lost_before_it_changed_is_told_without_a_picture(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer, store: Path
) -> None:
    """If another program has overwritten the stored file, its bytes are not kept as the old flag."""
    refresh(instance, settings)
    next((store / "flags").glob("FR-*")).write_bytes(b"tampered")
    change_flag(flag_server, "FR", "red", "gold")
    refresh(instance, settings)
    rebuild(instance, settings)

    rows = history_of(store)

    assert [(row["code"], row["old_file"]) for row in rows] == [("FR", "")]
    assert not (store / "history" / "FR").exists()
