"""What the tests of isolated assets ask of Dagster: ranges, re-executions, and the colours in its UI."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.storage.partition_status_cache import (
    build_failed_and_in_progress_partition_subset,
    get_last_planned_storage_id,
)

LETTERS = dg.StaticPartitionsDefinition(list("abcde"))
SINGLE_RUN = dg.BackfillPolicy.single_run()


def ranged(first: str, last: str) -> dict[str, str]:
    """The tags by which Dagster asks for a range."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def retrying(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """The tags of a re-execution of that run."""
    return {"dagster/parent_run_id": result.run_id, "dagster/root_run_id": result.run_id}


def listed(asset: dg.AssetsDefinition, *keys: str) -> dict[str, Any]:
    """The run configuration that asks for a list of partitions."""
    return {"ops": {asset.op.name: {"config": {"partition_keys": list(keys)}}}}


def green(instance: dg.DagsterInstance, asset_key: str) -> list[str]:
    """The partitions that Dagster's UI shows as materialized."""
    return sorted(instance.get_materialized_partitions(dg.AssetKey(asset_key)))


def red(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, asset_key: str) -> list[str]:
    """The partitions that Dagster's UI shows as failed."""
    assert asset.partitions_def is not None
    key = dg.AssetKey(asset_key)
    records = instance.get_asset_records([key])
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        failed, _, _ = build_failed_and_in_progress_partition_subset(
            instance,
            key,
            asset.partitions_def,
            get_last_planned_storage_id(instance, key, records[0] if records else None),
            None,
            None,
        )
        return sorted(failed.get_partition_keys())


def colours(instance: dg.DagsterInstance, asset: dg.AssetsDefinition) -> Mapping[str, tuple[list[str], list[str]]]:
    """The green and the red partitions of each asset."""
    names = sorted(key.to_user_string() for key in asset.keys)
    return {name: (green(instance, name), red(instance, asset, name)) for name in names}


def events(
    instance: dg.DagsterInstance,
    asset_key: str,
    partition_key: str | None = None,
    event_type: dg.DagsterEventType = dg.DagsterEventType.ASSET_MATERIALIZATION,
) -> list[dg.EventLogRecord]:
    """The events of an asset or of one of its partitions, latest first."""
    partitions = None if partition_key is None else [partition_key]
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset_key), asset_partitions=partitions)
    if event_type is dg.DagsterEventType.ASSET_OBSERVATION:
        return list(instance.fetch_observations(wanted, limit=1000).records)
    return list(instance.fetch_materializations(wanted, limit=1000).records)


def tags_of(instance: dg.DagsterInstance, asset_key: str, partition_key: str) -> dict[str, str]:
    """The tags of a partition's latest materialization."""
    materialization = events(instance, asset_key, partition_key)[0].asset_materialization
    assert materialization is not None
    return dict(materialization.tags or {})


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step says."""
    failed = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    assert failed.user_failure_data is not None
    return failed.user_failure_data.description or ""
