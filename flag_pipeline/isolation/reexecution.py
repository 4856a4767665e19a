"""Runs that continue another: a re-execution asks only for what failed, and a retried step for what is not recorded.

Dagster plans the whole range again, and paints red what a failed run planned and did not record. So a re-executed run
that fails again records once more what the run before had delivered. It does that at the end, and only if it fails:
recorded earlier, it would make `eager()` assets run again for partitions that did not change.
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
    """Return the partitions that an earlier attempt of the step recorded as materialized or absent."""
    return _recorded(step, step.run_id, tags) if step.context.retry_number else set()


def delivered_before(step: Step, keys: Iterable[str], tags: EventTags, hooks: Hooks) -> list[str]:
    """Return those of *keys* that the run which this one re-executes has delivered, and that still stand.

    What has failed or was wiped since then is to be run, and so is what `hooks.still_there` misses. Re-executing a run
    that succeeded runs everything: nothing had failed, so that must be what is wanted.
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
    """Return what the retried run delivered, and what that one would have carried over had it come to its end."""
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
    # The UI and the daemon write both; `dg.execute_job` has no tag, and a test of a user may have no more than the tag.
    return run.parent_run_id or run.get_parent_run_id()


def _recorded(step: Step, run_id: str, tags: EventTags, *, only_delivered: bool = False) -> set[str]:
    """Return the partitions that the run recorded for every selected asset."""
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
