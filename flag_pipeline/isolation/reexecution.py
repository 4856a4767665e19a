"""Which partitions a re-execution or a retried step does not run again.

A failed run paints red what it planned and did not record. So a failing re-execution records the earlier run's
partitions again, at its end, because `eager()` assets would otherwise run without a change.
"""

from collections.abc import Iterable

import dagster as dg

from flag_pipeline.isolation.event_tags import EventTags, read_outcome
from flag_pipeline.isolation.hooks import Hooks
from flag_pipeline.isolation.outcomes import Outcome
from flag_pipeline.isolation.recording import EventWriter
from flag_pipeline.isolation.status import RECORDED_TYPES, UNSUCCESSFUL, latest_materializations, read_statuses
from flag_pipeline.isolation.step import Step


def recorded_by_this_run(step: Step, tags: EventTags) -> set[str]:
    """Return the partitions that an earlier attempt of the step materialized or found absent."""
    return _recorded(step, step.run_id, tags) if step.context.retry_number else set()


def delivered_before(step: Step, keys: Iterable[str], tags: EventTags, hooks: Hooks) -> list[str]:
    """Return those of *keys* that the re-executed run delivered, and that are still materialized.

    Keys that `hooks.still_there` misses are left out. A re-execution of a successful run runs everything.
    """
    delivered = _delivered_by_ancestors(step, tags)
    standing = [key for key in keys if key in delivered]
    for asset_key in step.assets.selected:
        if standing:
            standing = read_statuses(step.instance, asset_key, standing, tags).materialized
    if standing and hooks.still_there is not None:
        there = hooks.still_there(standing)
        standing = [key for key in standing if key in there]
    return standing


def record_again(writer: EventWriter, keys: Iterable[str]) -> None:
    """Record the latest materializations of *keys* as this run's."""
    for asset_key in writer.step.assets.selected:
        records = latest_materializations(writer.step.instance, asset_key, keys).values()
        copies = [_copy(record, record.asset_materialization, writer.tags) for record in records]
        writer.store([copy for copy in copies if copy is not None])


def _copy(
    record: dg.EventLogRecord, materialization: dg.AssetMaterialization | None, tags: EventTags
) -> dg.AssetMaterialization | None:
    if materialization is None:
        return None
    copied = {name: value for name, value in (materialization.tags or {}).items() if name not in tags.not_copied}
    return dg.AssetMaterialization(
        materialization.asset_key,
        partition=materialization.partition,
        metadata=materialization.metadata,
        tags={
            tags.recorded_at: repr(record.timestamp),
            **copied,
            tags.outcome: tags.word(Outcome.CARRIED_OVER),
        },
    )


def _delivered_by_ancestors(step: Step, tags: EventTags) -> set[str]:
    delivered = set[str]()
    parent_id = _parent_id(step.context.run)
    while parent_id is not None:
        parent = step.instance.get_run_by_id(parent_id)
        if parent is None or parent.status not in UNSUCCESSFUL:
            break
        delivered |= _recorded(step, parent_id, tags, only_delivered=True)
        parent_id = _parent_id(parent)
    return delivered


def _parent_id(run: dg.DagsterRun) -> str | None:
    # `dg.execute_job` writes no tag; tests may write only the tag.
    return run.parent_run_id or run.get_parent_run_id()


def _recorded(step: Step, run_id: str, tags: EventTags, *, only_delivered: bool = False) -> set[str]:
    event_types = {dg.DagsterEventType.ASSET_MATERIALIZATION} if only_delivered else set(RECORDED_TYPES)
    by_asset: dict[dg.AssetKey, set[str]] = {key: set() for key in step.assets.selected}
    for entry in step.instance.all_logs(run_id, of_type=event_types):
        event = entry.dagster_event
        if event is None or event.partition is None or event.asset_key not in by_asset:
            continue
        if event.is_step_materialization or _is_absence(event, tags):
            by_asset[event.asset_key].add(event.partition)
    return set.intersection(*by_asset.values()) if by_asset else set()


def _is_absence(event: dg.DagsterEvent, tags: EventTags) -> bool:
    recorded = read_outcome(event, tags)
    return recorded is not None and recorded.outcome is Outcome.ABSENT
