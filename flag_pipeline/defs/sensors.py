"""The sensors: automation of the catalog, and healing."""

import json
import time

import dagster as dg

from flag_pipeline.defs.flags import STEP
from flag_pipeline.defs.healing import HealingPlan, HealingPolicy, explain_elsewhere, failed_elsewhere, plan_healing
from flag_pipeline.defs.jobs import rebuild_catalog, refresh_flags
from flag_pipeline.defs.keys import FETCHED_ASSETS, FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY
from flag_pipeline.defs.ledger import read_event, read_ledger
from flag_pipeline.defs.source_guard import SOURCE_GIVEN_TAG

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

catalog_automation = dg.AutomationConditionSensorDefinition(
    "catalog_automation",
    target=dg.AssetSelection.assets(FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Rebuilds the catalog, the history and the pictures when a flag or a name has changed.",
)


def catalog_follows(status: dg.DagsterRunStatus) -> dg.SensorDefinition:
    """Rebuild the catalog after runs that ended with *status* and changed rows of it, but no data version.

    Such are a country's new failure, and its recovery with the same flag; where a data version changed in the same
    run, the automation condition sees to it.
    """

    @dg.run_status_sensor(
        name=f"catalog_follows_{status.value.lower()}",
        run_status=status,
        request_job=rebuild_catalog,
        monitored_jobs=None,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=10,
        description=f"Rebuilds the catalog when a run ended in {status.value} and only countries' states changed.",
    )
    def sensor(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        run_id = context.dagster_run.run_id
        entries = context.instance.all_logs(run_id, of_type=set(LEDGER_EVENTS))
        said = [read_event(entry.dagster_event) for entry in entries if entry.dagster_event]
        changed = [country for country in said if country and country.only_row_changed]
        if not changed:
            return dg.SkipReason(f"No row of the catalog changed by state alone in run {run_id}.")
        if has_new_content(context.instance, run_id):
            return dg.SkipReason(f"Content changed in run {run_id} too: the automation condition rebuilds the catalog.")
        return dg.RunRequest(run_key=run_id)

    return sensor


def has_new_content(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a country that the run recorded has another data version than before: what Dagster's condition asks.

    That a file was written says less: it may have been damaged, and be as it was.
    """
    storage = instance.event_log_storage
    recorded = storage.get_asset_event_summary_records(dg.DagsterEventType.ASSET_MATERIALIZATION, run_id=run_id)
    for key in FETCHED_ASSETS:
        ids = {event.partition: event.storage_id for event in recorded if event.asset_key == key and event.partition}
        if ids and storage.get_updated_data_version_partitions(key, ids, min(ids.values()) - 1):
            return True
    return False


LEDGER_EVENTS = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION)


def healing(codes: list[str], policy: HealingPolicy, *, source: str, store: str) -> dg.SensorDefinition:
    """Fetch failed countries again, in one run however scattered, with growing delays and a limit of attempts.

    Those that were asked for at another source than *source*, or for another store than *store*, are left alone.
    """

    @dg.sensor(
        name="healing",
        job=refresh_flags,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Fetches countries again that failed for a reason that may pass.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if run := _fetching_run(context.instance):
            return dg.SkipReason(f"Run {run.run_id} is fetching; never two at once.")
        failed = {}
        for key in FETCHED_ASSETS:
            failed.update(read_ledger(context.instance, key, codes).failed)
        elsewhere = failed_elsewhere(failed, source=source, store=store)
        ours = {code: miss for code, miss in failed.items() if code not in elsewhere}
        plan = plan_healing(ours, _attempts_of(context.cursor), policy, now=time.time())
        left_alone = explain_elsewhere(elsewhere, store=store)
        if left_alone:
            context.log.info(left_alone)
        if not plan.codes:
            explanation = f"{left_alone} {plan.explanation}" if ours else left_alone or plan.explanation
            return dg.SensorResult(skip_reason=explanation.strip(), cursor=json.dumps(plan.attempts))
        return dg.SensorResult([_request(plan)], cursor=json.dumps(plan.attempts))

    return sensor


def _request(plan: HealingPlan) -> dg.RunRequest:
    return dg.RunRequest(
        # Each attempt is made once, even if the cursor of the tick that asked for it got lost.
        run_key=plan.key,
        run_config={"ops": {STEP: {"config": {"countries": plan.codes}}}},
        # They are asked for where they were asked for before.
        tags={"flag_pipeline/healing": ",".join(plan.codes)[:200], SOURCE_GIVEN_TAG: "true"},
    )


def _attempts_of(cursor: str | None) -> dict[str, int]:
    return {str(code): int(number) for code, number in json.loads(cursor or "{}").items()}


def _fetching_run(instance: dg.DagsterInstance) -> dg.DagsterRun | None:
    """Return a run that fetches or is about to, if there is one."""
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        if run.job_name == refresh_flags.name or set(FETCHED_ASSETS) & set(run.asset_selection or ()):
            return run
    return None
