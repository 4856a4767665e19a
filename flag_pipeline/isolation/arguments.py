"""Arguments of a partition's function: upstream values are reduced to its partition."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from flag_pipeline.isolation.provenance import Upstream
from flag_pipeline.isolation.step import Step


def upstream_arguments(step: Step, arguments: Mapping[str, Any]) -> Callable[[str], Mapping[str, Any]]:
    """Return a function that reduces the step's *arguments* to those of a partition key.

    I/O managers load a range's upstream argument as a dict. An untyped parameter gets its partition's value, or a
    dict of several. The function raises `dg.DagsterInvariantViolationError` for a missing value.
    """
    sliced = {
        name: Upstream.read(step, asset_key)
        for name, value in arguments.items()
        if isinstance(value, Mapping) and (asset_key := _asset_key_of(step, name)) is not None
    }

    def of_partition(key: str) -> Mapping[str, Any]:
        own = {name: _own(name, arguments[name], upstream, key) for name, upstream in sliced.items()}
        return {**arguments, **own}

    return of_partition


def _asset_key_of(step: Step, name: str) -> dg.AssetKey | None:
    execution = step.execution
    if name not in execution.op_def.input_dict or not execution.op_def.input_def_named(name).dagster_type.is_any:
        return None
    if not execution.has_asset_partitions_for_input(name):
        return None
    partitions = execution.asset_partitions_subset_for_input(name, require_valid_partitions=False)
    if len(list(partitions.get_partition_keys())) == 1:
        return None
    return execution.job_def.asset_layer.get_asset_key_for_node_input(execution.node_handle, name)


def _own(name: str, values: Mapping[str, Any], upstream: Upstream, key: str) -> Any:
    keys = list(upstream.keys_for(key))
    if len(keys) != 1:
        return {each: values[each] for each in keys if each in values}
    if keys[0] not in values:
        raise dg.DagsterInvariantViolationError(
            f"{upstream.asset_key.to_user_string()} has no partition {keys[0]}, which the argument {name} needs."
        )
    return values[keys[0]]
