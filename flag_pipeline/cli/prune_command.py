"""The command `prune`: options, questions, output and exit codes."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flag_pipeline.cli.arguments import AsJson, examples
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.settings import load_settings, use_dagster_home

# `--help` does not wait for Dagster.
if TYPE_CHECKING:
    from flag_pipeline.dagster_storage.pruning import PrunePlan, PruneReport

commands = typer.Typer()


@commands.command(epilog=examples("prune --older-than 30d --dry-run", "prune --yes"))
def prune(
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="AGE", help="Age such as 90d, 12w or 36h. [env: FLAG_PRUNE_OLDER_THAN; 90d]"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete old runs from Dagster's instance, and free disk space.

    The store is not touched, and no partition's status changes: a run is kept if it has the latest event of any
    partition, or has not ended.
    """
    from flag_pipeline.cli.instance import is_new, say_that_there_is_none

    settings = load_settings(prune_older_than=older_than)
    if as_json and not (yes or dry_run):
        raise ConfigurationError("--json cannot ask before it deletes; add --yes or --dry-run")
    home = use_dagster_home(make=False)
    if is_new(home):
        say_that_there_is_none(home)
        return
    from dagster import DagsterInstance

    from flag_pipeline.dagster_storage.pruning import prune as prune_instance
    from flag_pipeline.defs.pruning import plan, summary_of

    # The command line's instance has no logs of runs that the UI launched.
    with DagsterInstance.from_config(str(home)) as instance:
        planned = plan(instance, settings)
        if not as_json:
            print(*_plan_lines(planned, settings.prune_older_than), sep="\n")
        if not (dry_run or yes) and (planned.run_ids or planned.orphaned):
            typer.confirm("Delete them?", abort=True)
        # Without runs, it frees what a killed command left.
        report = None if dry_run else prune_instance(instance, planned)
    if as_json:
        print(json.dumps(_json_of(planned, report)))
    elif report is not None:
        print(*summary_of(report), sep="\n")


def _plan_lines(planned: "PrunePlan", older_than: str) -> list[str]:
    runs = f"Runs that ended more than {older_than} ago: {len(planned.run_ids)} to delete"
    kept = f", {len(planned.kept)} to keep, because the latest statuses depend on them" if planned.kept else ""
    files = [f"Event files without a run: {len(planned.orphaned)} to delete."] if planned.orphaned else []
    return [f"{runs}{kept}.", *files]


def _json_of(planned: "PrunePlan", report: "PruneReport | None") -> dict[str, object]:
    """Return the object that `--json` prints; without a report nothing was deleted."""
    found = {
        "before": planned.before.isoformat(timespec="seconds"),
        "runs": planned.run_ids,
        "kept": planned.kept,
        "files_without_a_run": planned.orphaned,
        "is_dry_run": report is None,
    }
    if report is None:
        return found
    not_freed = {str(path): reason for path, reason in report.not_freed.items()}
    done = {"events": report.n_events, "backfills": report.n_backfills, "freed_bytes": report.freed_bytes}
    return {**found, **done, "not_freed": not_freed}
