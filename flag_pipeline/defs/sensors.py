"""Sensors that rebuild what is derived from the flags."""

import dagster as dg

from flag_pipeline.defs.events import ONLY_ROW_CHANGED_TAG, read_event
from flag_pipeline.defs.jobs import rebuild_catalog
from flag_pipeline.defs.keys import (
    FETCHED_ASSETS,
    FLAG_CATALOG,
    FLAG_CHANGES,
    FLAG_GALLERY,
    FLAG_RELEASE,
    FLAG_RENDITION,
    RENDITION_CATALOG,
)

# The statuses of a rebuild that has not failed.
FOLLOWING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.SUCCESS,
]
CLOCK_SKEW_S = 5
# The fleet's dagster.yaml lets one run with this tag run at a time.
REBUILD_TAG = "flag_pipeline/rebuild"
ASSET_EVENTS = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION}

catalog_automation = dg.AutomationConditionSensorDefinition(
    "catalog_automation",
    target=dg.AssetSelection.assets(FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Rebuilds the catalog, the history and the pictures when a flag or a name has changed.",
)

rendition_automation = dg.AutomationConditionSensorDefinition(
    "rendition_automation",
    target=dg.AssetSelection.assets(FLAG_RENDITION, RENDITION_CATALOG),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Makes the renditions of flags that have changed, and lists them.",
)

release_automation = dg.AutomationConditionSensorDefinition(
    "release_automation",
    target=dg.AssetSelection.assets(FLAG_RELEASE),
    minimum_interval_seconds=60,
    description="Makes a release when the catalog or a rendition has changed. Off until you start it.",
)


def catalog_follows(status: dg.DagsterRunStatus) -> dg.SensorDefinition:
    """Rebuild the catalog after runs that ended with *status* and changed its rows, but no data version.

    Examples: a country's failure, and its recovery with the same flag. Also after runs that did not build it because a
    country failed: it would stay red.
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
    def sensor(context: dg.RunStatusSensorContext) -> dg.RunRequest | None:
        run_id = context.dagster_run.run_id
        if reason := why_not_rebuild(context.instance, run_id):
            # A `SkipReason` would end the tick: a backfill would take a tick per run.
            context.log.info(reason)
            return None
        return dg.RunRequest(run_key=run_id, tags={REBUILD_TAG: "true"})

    return sensor


def why_not_rebuild(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return why the run does not cause a rebuild, empty if it does."""
    if is_followed(instance, run_id):
        return f"The catalog is rebuilt after run {run_id} already."
    if has_skipped_catalog(instance, run_id):
        return ""
    entries = instance.all_logs(run_id, of_type=ASSET_EVENTS)
    recorded = [read_event(entry.dagster_event) for entry in entries if entry.dagster_event]
    if not any(country and ONLY_ROW_CHANGED_TAG in country.tags for country in recorded):
        return f"No row of the catalog changed by state alone in run {run_id}."
    if has_new_content(instance, run_id):
        return f"Content changed in run {run_id} too: the automation condition rebuilds the catalog."
    return ""


def is_followed(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the latest `rebuild_catalog` has yet to start, or started after the run ended.

    So runs that end while a rebuild waits do not cause one each.
    """
    wanted = dg.RunsFilter(job_name=rebuild_catalog.name, statuses=FOLLOWING)
    ended, rebuilds = instance.get_run_record_by_id(run_id), instance.get_run_records(wanted, limit=1)
    if not ended or not ended.end_time:
        return False
    # The times can be of two machines.
    since = ended.end_time + CLOCK_SKEW_S
    return any(rebuild.start_time is None or rebuild.start_time > since for rebuild in rebuilds)


def has_skipped_catalog(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run requested countries and what is derived from them, and did not build all of the latter."""
    read = instance.event_log_storage.get_asset_event_summary_records
    planned = {event.asset_key for event in read(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, run_id=run_id)}
    derived = planned & {FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY}
    if not derived or planned.isdisjoint(FETCHED_ASSETS):
        return False
    return bool(derived - {event.asset_key for event in read(dg.DagsterEventType.ASSET_MATERIALIZATION, run_id=run_id)})


def has_new_content(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run changed any country's data version.

    The outcome `saved` does not tell, because repaired files keep theirs.
    """
    storage = instance.event_log_storage
    recorded = storage.get_asset_event_summary_records(dg.DagsterEventType.ASSET_MATERIALIZATION, run_id=run_id)
    for key in FETCHED_ASSETS:
        ids = {event.partition: event.storage_id for event in recorded if event.asset_key == key and event.partition}
        if ids and storage.get_updated_data_version_partitions(key, ids, min(ids.values()) - 1):
            return True
    return False
