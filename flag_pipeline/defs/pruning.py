"""Deletes old runs from Dagster's instance: what `flag-pipeline prune` does, as a job with a schedule."""

from datetime import UTC, datetime

import dagster as dg

from flag_pipeline.dagster_storage.pruning import PrunePlan, PruneReport, UnsupportedStorageError, plan_pruning, prune
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.settings import Settings


def plan(instance: dg.DagsterInstance, settings: Settings) -> PrunePlan:
    """Return which runs are older than the setting and can be deleted. Raises ConfigurationError."""
    try:
        return plan_pruning(instance, datetime.now(UTC) - settings.prune_age)
    except UnsupportedStorageError as exc:
        raise ConfigurationError(f"this Dagster instance cannot be pruned: {exc}") from exc


def summary_of(report: PruneReport) -> list[str]:
    """Return what was deleted, and which files did not shrink, one line each."""
    done = (
        f"Runs deleted: {report.n_runs}, with {report.n_events} events. "
        f"Disk space freed: {report.freed_bytes / 1e6:.1f} MB."
    )
    kept = [
        f"{path} was not made smaller ({reason}); new events use its free pages."
        for path, reason in report.not_freed.items()
    ]
    return [done, *kept]


def pruning_job(settings: Settings) -> dg.JobDefinition:
    """Return the job `prune_runs`."""

    @dg.op(description="Delete old runs with their events and logs, and free the disk space.")
    def delete_old_runs(context: dg.OpExecutionContext) -> None:
        planned = plan(context.instance, settings)
        context.log.info("Older runs kept, because the latest statuses depend on them: %s.", len(planned.kept))
        report = prune(context.instance, planned, own_run_id=context.run_id)
        context.log.info("\n".join(summary_of(report)))
        context.add_output_metadata(
            {"runs": report.n_runs, "events": report.n_events, "freed_bytes": report.freed_bytes}
        )

    @dg.job(
        name="prune_runs",
        description=f"Delete runs that ended more than {settings.prune_older_than} ago. No partition's status changes.",
    )
    def job() -> None:
        delete_old_runs()

    return job


def weekly_pruning(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Return the schedule, which is off until switched on in the UI."""
    return dg.ScheduleDefinition(
        "weekly_pruning",
        job=job,
        cron_schedule="45 4 * * 0",
        execution_timezone="UTC",
        description="Delete old runs on Sundays at 04:45 UTC.",
    )
