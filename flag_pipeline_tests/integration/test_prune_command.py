"""`flag-pipeline prune`, and the job that does the same."""

from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from flag_pipeline.cli.app import app
from flag_pipeline.cli.runs import open_instance
from flag_pipeline.definitions import build_definitions
from flag_pipeline.settings import load_settings
from flag_pipeline_tests.past_runs import event_files, materialized, record_run, run_id, run_ids
from flag_pipeline_tests.shell import Shell

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def home(shell: Shell, tmp_path: Path) -> Path:
    """The home of an instance with a run that can be deleted, one that must be kept, and a young one."""
    assert not shell.store.exists()
    with open_instance() as instance:
        record_run(instance, 1, [materialized("a")], days=40)
        record_run(instance, 2, [materialized("a")], days=40)
        record_run(instance, 3, [materialized("b")], days=1)
    return tmp_path / "home"


def left(home: Path) -> list[str]:
    """The runs that are left, which are those with a file of events."""
    with open_instance() as instance:
        ids = list(run_ids(instance))
    assert event_files(home) == set(ids)
    return ids


def test_a_dry_run_only_counts(shell: Shell, home: Path) -> None:
    """The output says what would be deleted, and why other old runs would not."""
    result = shell("prune", "--older-than", "30d", "--dry-run")

    assert result.stdout == (
        "Runs that ended more than 30d ago: 1 to delete, 1 to keep, because the latest statuses depend on them.\n"
    )
    assert left(home) == [run_id(1), run_id(2), run_id(3)]


@pytest.mark.parametrize(("answer", "exit_code", "n_left"), [("y\n", 0, 2), ("n\n", 1, 3), ("", 1, 3)])
def test_it_asks_before_it_deletes(shell: Shell, home: Path, answer: str, exit_code: int, n_left: int) -> None:
    """Without an answer nothing is deleted."""
    result = CliRunner().invoke(app, ["prune", "--older-than", "30d"], input=answer)

    assert not shell.store.exists()
    assert result.exit_code == exit_code
    assert "Delete them? [y/N]" in result.output
    assert ("Runs deleted: 1" in result.output) is (exit_code == 0)
    assert len(left(home)) == n_left


def test_json_has_what_was_deleted(shell: Shell, home: Path) -> None:
    """The object is all that is printed; a dry run has no results."""
    dry = shell.json("prune", "--older-than", "30d", "--dry-run")
    done = shell.json("prune", "--older-than", "30d", "--yes")

    assert (dry["runs"], dry["kept"], dry["is_dry_run"]) == ([run_id(1)], [run_id(2)], True)
    assert "events" not in dry
    assert (done["runs"], done["is_dry_run"], done["events"], done["not_freed"]) == ([run_id(1)], False, 1, {})
    assert done["freed_bytes"] > 100_000
    assert left(home) == [run_id(2), run_id(3)]


def test_the_age_is_a_setting(shell: Shell, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is 90 days, and the option wins over the variable."""
    assert shell.json("prune", "--dry-run")["runs"] == []
    monkeypatch.setenv("FLAG_PRUNE_OLDER_THAN", "5w")
    assert shell.json("prune", "--dry-run")["runs"] == [run_id(1)]
    assert shell.json("prune", "--dry-run", "--older-than", "999h")["runs"] == []
    assert len(left(home)) == 3


def test_json_cannot_ask(shell: Shell, home: Path) -> None:
    """The error names the options that decide."""
    result = shell("prune", "--json", expect=1)

    assert "add --yes or --dry-run" in str(result.exception)
    assert len(left(home)) == 3


def test_without_an_instance_none_is_made(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says that there is nothing to delete."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "none"))

    result = shell("prune", "--yes")

    assert "there is no Dagster instance" in result.stderr
    assert not (tmp_path / "none").exists()


def test_the_job_does_the_same(shell: Shell, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It deletes by the setting, keeps its own run, and its schedule is off until someone switches it on."""
    assert not shell.store.exists()
    monkeypatch.setenv("FLAG_PRUNE_OLDER_THAN", "30d")
    defs = build_definitions(load_settings())
    (schedule,) = [each for each in defs.schedules or [] if each.name == "weekly_pruning"]
    assert isinstance(schedule, dg.ScheduleDefinition)

    with open_instance() as instance:
        result = defs.resolve_job_def("prune_runs").execute_in_process(instance=instance)

    assert result.success
    assert left(home) == [run_id(2), run_id(3), result.run_id]
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert schedule.job_name == "prune_runs"
