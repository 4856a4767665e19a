"""Passes partitions' values to the I/O managers of their assets."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg

from flag_pipeline.isolation.dagster_private import output_context
from flag_pipeline.isolation.outcomes import Delivered, Result, has_value
from flag_pipeline.isolation.step import Step


def has_values(delivered: Delivered) -> bool:
    """Whether there is anything to store."""
    return any(has_value(result) for result in delivered.results.values())


def store_values(step: Step, delivered: Delivered) -> Delivered:
    """Store the partition's values, and return it with the I/O managers' metadata."""
    results = {
        asset_key: _stored(step, asset_key, delivered.key, result) if has_value(result) else result
        for asset_key, result in delivered.results.items()
    }
    return replace(delivered, results=results)


def _stored(step: Step, asset_key: dg.AssetKey, key: str, result: Result) -> Result:
    name = step.assets_def.get_output_name_for_asset_key(asset_key)
    output = step.context.op_def.output_def_named(name)
    if output.dagster_type.is_nothing and result.value is not None:
        raise dg.DagsterInvariantViolationError(
            f"The function returned a value for {asset_key.to_user_string()}, whose output has no type for one. Declare"
            " it with dg.AssetOut, or save the value in the function."
        )
    metadata = _handle_output(step, name, key, result.value) if not output.dagster_type.is_nothing else {}
    return dg.MaterializeResult(
        asset_key=result.asset_key,
        metadata={**metadata, **(result.metadata or {})},
        check_results=result.check_results,
        data_version=result.data_version,
        tags=result.tags,
    )


def _handle_output(step: Step, output_name: str, key: str, value: Any) -> Mapping[str, Any]:
    io_manager: dg.IOManager = getattr(
        step.context.resources, step.context.op_def.output_def_named(output_name).io_manager_key
    )
    context = output_context(step.execution, output_name, step.partitions_def, key)
    with dg.partition_loading_context(dynamic_partitions_store=step.instance):
        handled: Any = io_manager.handle_output(context, value)
        yielded = list(handled) if inspect.isgenerator(handled) else []
    metadata = [each for each in yielded if isinstance(each, Mapping)]
    return {name: entry for each in [*metadata, context.consume_logged_metadata()] for name, entry in each.items()}
