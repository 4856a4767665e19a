"""Every name that the isolation takes from Dagster's private modules.

Tests check each one's behaviour, so that upgrades fail there and not in a run.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    NULL_EVENT_POINTER,
    SKIP_PARTITION_DATA_VERSION_DEPENDENCY_THRESHOLD,
    compute_logical_data_version,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.definitions.partitions.utils import (
    MultiPartitionKey,
    get_tags_from_multi_partition_key,
    infer_partition_mapping,
)
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.definitions.utils import NoValueSentinel
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    StepMaterializationData,
    generate_event_batch_id,
)
from dagster._core.execution.context.data_version_cache import InputAssetVersionInfo
from dagster._core.execution.context.output import OutputContext
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.execution.plan.outputs import StepOutputHandle
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from flag_pipeline.isolation.partitions_config import PartitionsConfig

__all__ = [
    "ASSET_PARTITION_RANGE_END_TAG",
    "ASSET_PARTITION_RANGE_START_TAG",
    "CODE_VERSION_TAG",
    "DATA_VERSION_IS_USER_PROVIDED_TAG",
    "DATA_VERSION_TAG",
    "DEFAULT_DATA_VERSION",
    "NO_ASSET_EVENT",
    "NULL_EVENT_POINTER",
    "PARTITION_NAME_TAG",
    "SKIP_PARTITION_DATA_VERSION_DEPENDENCY_THRESHOLD",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetEvent",
    "InputAssetVersionInfo",
    "MultiPartitionKey",
    "NoValueSentinel",
    "OutputContext",
    "StepExecutionContext",
    "compute_logical_data_version",
    "get_input_data_version_tag",
    "get_input_event_pointer_tag",
    "get_tags_from_multi_partition_key",
    "infer_partition_mapping",
    "input_version_info",
    "latest_data_versions",
    "latest_storage_ids",
    "output_context",
    "plan_partitions",
    "store_events",
]

# Dagster writes no asset event for an output with this metadata:
# `_log_materialization_or_observation_events_for_asset` in dagster/_core/execution/plan/execute_step.py.
NO_ASSET_EVENT = SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

AssetEvent = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation


def store_events(step: StepExecutionContext, events: Sequence[AssetEvent]) -> list[DagsterEvent]:
    """Store *events* of one asset as the step's, and return Dagster's form of them.

    They are one transaction if `DAGSTER_EVENT_BATCH_SIZE` allows it. `context.log_event` would make one each, and log
    it, at twice the cost.
    """
    batch_id = generate_event_batch_id()  # type: ignore[no-untyped-call]
    stored = []
    for number, event in enumerate(events, start=1):
        dagster_event = _dagster_event(step, event)
        step.instance.report_dagster_event(
            dagster_event,
            step.run_id,
            logging.DEBUG,
            batch_metadata=DagsterEventBatchMetadata(batch_id, is_end=number == len(events)),
        )
        stored.append(dagster_event)
    return stored


def _dagster_event(step: StepExecutionContext, event: AssetEvent) -> DagsterEvent:
    data: StepMaterializationData | AssetObservationData | dg.AssetCheckEvaluation
    match event:
        case dg.AssetMaterialization():
            kind, data = dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event)
            message = "Materialized value."
        case dg.AssetObservation():
            kind, data = dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(event)
            message = f"{kind.value} for step {step.step.key}"
        case dg.AssetCheckEvaluation():
            kind, data = dg.DagsterEventType.ASSET_CHECK_EVALUATION, event
            verdict = "passed" if event.passed else "did not pass"
            message = f"Asset check '{event.check_name}' on '{event.asset_key.to_user_string()}' {verdict}."
    return DagsterEvent(
        event_type_value=kind.value,
        job_name=step.job_name,
        step_handle=step.step.handle,
        node_handle=step.step.node_handle,
        step_kind_value=step.step.kind.value,
        # Dagster repeats the run's tags here, which nothing reads back.
        logging_tags={},
        event_specific_data=data,
        message=event.description or message,
        pid=os.getpid(),
    )


def plan_partitions(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    step_key: str,
    asset_keys: Iterable[dg.AssetKey],
    partition_keys: Sequence[str],
) -> None:
    """Record once that a step of the run intends to materialize *partition_keys* of each asset.

    Dagster does this only for a partition or a range; without it, failed runs have no red partition. Launchers may do
    it before the step.
    """
    if _has_plan(instance, run):
        return
    for asset_key in asset_keys:
        batch_id = generate_event_batch_id()  # type: ignore[no-untyped-call]
        for number, partition_key in enumerate(partition_keys, start=1):
            instance.report_dagster_event(
                DagsterEvent.build_asset_materialization_planned_event(
                    run.job_name, step_key, AssetMaterializationPlannedData(asset_key, partition=partition_key)
                ),
                run.run_id,
                batch_metadata=DagsterEventBatchMetadata(batch_id, is_end=number == len(partition_keys)),
            )


def _has_plan(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    return any(entry.dagster_event is not None and entry.dagster_event.partition is not None for entry in entries)


def latest_storage_ids(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey,
    event_type: dg.DagsterEventType = dg.DagsterEventType.ASSET_MATERIALIZATION,
    partition_keys: set[str] | None = None,
) -> Mapping[str, int]:
    """Return the storage id of the latest event by partition key; one query."""
    return instance.event_log_storage.get_latest_storage_id_by_partition(asset_key, event_type, partition_keys)


def latest_data_versions(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> dict[str, str]:
    """Return the latest data version by partition key; one query."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    return {partition_key: by_tag[DATA_VERSION_TAG] for partition_key, by_tag in tags.items()}


def input_version_info(step: StepExecutionContext, asset_key: dg.AssetKey) -> InputAssetVersionInfo | None:
    """Return an upstream asset's latest event when the step started."""
    return step.maybe_fetch_and_get_input_asset_version_info(asset_key)


def output_context(
    step: StepExecutionContext, output_name: str, partitions_def: dg.PartitionsDefinition[Any], partition_key: str
) -> OutputContext:
    """Return the I/O manager's context for one partition of a run over many."""
    context = step.get_output_context(StepOutputHandle(step.step.key, output_name))
    context._partition_key = partition_key  # noqa: SLF001 - Dagster has no other way
    context._asset_partitions_subset = partitions_def.subset_with_partition_keys([partition_key])  # noqa: SLF001
    return context


_subset_for_input = StepExecutionContext.asset_partitions_subset_for_input


def _listed_subset_for_input(
    step: StepExecutionContext, input_name: str, *, require_valid_partitions: bool = True
) -> Any:
    """Return the upstream partitions of an input, also in a run for a list of partitions.

    Dagster's method, which this replaces, raises in every run without partition, before the function is called.
    """
    listed = set(_listed_keys(step))
    if step.has_partitions or not listed:
        return _subset_for_input(step, input_name, require_valid_partitions=require_valid_partitions)
    layer: Any = step.job_def.asset_layer
    upstream_key = layer.get_asset_key_for_node_input(step.node_handle, input_name)
    assets_def = layer.get_assets_def_for_node(step.node_handle)
    upstream, own = layer.get(upstream_key).partitions_def, assets_def.partitions_def
    mapping: Any = infer_partition_mapping(assets_def.get_partition_mapping_for_dep(upstream_key), own, upstream)
    with dg.partition_loading_context(dynamic_partitions_store=step.instance):
        # As defined, because keys of several dimensions are more than text; the step itself refuses unknown ones.
        keys = [key for key in own.get_partition_keys() if key in listed]
        subset = own.subset_with_partition_keys(keys)
        return mapping.get_upstream_mapped_partitions_result_for_partitions(subset, own, upstream).partitions_subset


def _listed_keys(step: StepExecutionContext) -> Sequence[str]:
    """Return the list in the step's configuration, if its function takes a `PartitionsConfig`."""
    function = step.op_def.compute_fn
    if not (isinstance(function, DecoratedOpFunction) and function.has_config_arg()):
        return ()
    declared = function.get_config_arg().annotation
    if not (isinstance(declared, type) and issubclass(declared, PartitionsConfig)):
        return ()
    listed: Sequence[str] = step.op_config[declared.model_fields["partition_keys"].alias or "partition_keys"]
    return listed


StepExecutionContext.asset_partitions_subset_for_input = _listed_subset_for_input  # type: ignore[assignment,method-assign]
