"""Commands where no instance was made yet: `run` makes one with this package's settings, reading commands make none."""

from pathlib import Path

import dagster as dg
import pytest

from flag_pipeline.cli.runs import open_instance
from flag_pipeline.dagster_storage.sqlite_event_log import EmbeddedEventLogStorage
from flag_pipeline.dagster_storage.sqlite_runs import EmbeddedRunStorage, EmbeddedScheduleStorage
from flag_pipeline_tests.shell import Shell


@pytest.fixture
def home(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an instance that was never made; the current folder is the one above it."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(shell.store.parent)
    return tmp_path / "none"


def test_a_run_makes_the_instance(shell: Shell, home: Path) -> None:
    """It has the fast storages, the limit of the pool and no telemetry, and its first command names it."""
    first = shell("run", "CN")
    second = shell("run", "CN")

    assert first.stderr == f"flag-pipeline: new Dagster instance in {home}; files are stored in {shell.store}\n"
    assert second.stderr == ""
    with open_instance() as instance:
        assert type(instance.event_log_storage) is EmbeddedEventLogStorage
        assert type(instance.run_storage) is EmbeddedRunStorage
        assert type(instance.schedule_storage) is EmbeddedScheduleStorage
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
        assert len(instance.get_runs(dg.RunsFilter(job_name="refresh_flags"))) == 2


@pytest.mark.parametrize(
    ("arguments", "exit_code"), [(["status"], 0), (["status", "--json"], 0), (["catalog"], 1), (["changes"], 1)]
)
@pytest.mark.parametrize("is_made", [False, True])
def test_reading_commands_make_no_instance(
    shell: Shell, home: Path, arguments: list[str], exit_code: int, *, is_made: bool
) -> None:
    """They show that nothing was fetched, and leave a missing folder missing and an empty one empty."""
    if is_made:
        home.mkdir()

    result = shell(*arguments, expect=exit_code)

    assert home.exists() is is_made
    assert not is_made or list(home.iterdir()) == []
    if arguments[0] == "status":
        assert (
            result.stderr == f"flag-pipeline: there is no Dagster instance in {home} yet: flag-pipeline run makes one\n"
        )


def test_status_without_an_instance_counts_what_is_missing(shell: Shell, home: Path) -> None:
    """Every country counts as missing, as in an instance without runs."""
    found = shell.json("status")

    assert not home.exists()
    assert {len(asset["missing"]) for asset in found.values()} == {249}


def test_a_relative_store_is_below_the_current_folder(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--store out` means the same folder to the command that writes and to those that read."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    shell("run", "CN", "--store", "out")
    rows = shell("catalog", "CN", "--store", "out").stdout

    assert (tmp_path / "work" / "out" / "flags" / "CN-China.gif").is_file()
    assert "China" in rows
    assert not shell.store.exists()
