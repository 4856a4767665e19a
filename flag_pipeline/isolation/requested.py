"""The partitions of a run: its partition or range, or a list in its configuration."""

from collections.abc import Sequence

import dagster as dg

from flag_pipeline.isolation.dagster_private import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    plan_partitions,
)
from flag_pipeline.isolation.step import Step

NAMED_UNKNOWN = 10
NAMED_EXISTING = 3
LAUNCH_TAGS = (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG, PARTITION_NAME_TAG)


def requested_keys(step: Step, listed: Sequence[str] | None) -> list[str]:
    """Return the partitions of the run, or record the *listed* ones as planned and return them.

    *listed* is None without a `PartitionsConfig`. Raises `dg.Failure` for nothing to run, for both, for unknown
    partitions, or for a reversed range.
    """
    context = step.context
    if context.has_partition_key or context.has_partition_key_range:
        if listed:
            raise _either_or(step)
        return _launched_keys(step)
    if listed is None:
        raise dg.Failure(
            f"This run has no partition: launch {context.op_def.name} with a partition or a range, or give its function"
            " a parameter `config: PartitionsConfig` and list partition_keys.",
            allow_retries=False,
        )
    if not listed:
        raise _either_or(step)
    keys = known_keys(step, listed)
    plan_partitions(step.instance, context.run, step.execution.step.key, step.assets.selected, keys)
    return keys


def _launched_keys(step: Step) -> list[str]:
    """Return the run's partitions. Dagster does not check them, and accepts reversed ranges as none."""
    wanted = [step.context.run.tags[name] for name in LAUNCH_TAGS if name in step.context.run.tags]
    with dg.partition_loading_context(dynamic_partitions_store=step.instance):
        unknown = [key for key in dict.fromkeys(wanted) if not step.partitions_def.has_partition_key(key)]
        if unknown:
            raise _unknown(step, unknown)
        keys = list(dict.fromkeys(step.context.partition_keys))
    if not keys:
        first, last = wanted[:2]
        raise dg.Failure(f"the range from {first} to {last} is reversed: choose {last} to {first}", allow_retries=False)
    return keys


def _unknown(step: Step, unknown: Sequence[str]) -> dg.Failure:
    existing = step.partitions_def.get_partition_keys(dynamic_partitions_store=step.instance)
    return dg.Failure(
        f"there is no partition {_some([repr(key) for key in unknown], NAMED_UNKNOWN)}: partitions are"
        f" {_some(existing, NAMED_EXISTING)}",
        allow_retries=False,
    )


def _some(words: Sequence[str], n_named: int) -> str:
    more = f" and {len(words) - n_named} more" if len(words) > n_named else ""
    return f"{', '.join(words[:n_named])}{more}"


def _either_or(step: Step) -> dg.Failure:
    return dg.Failure(
        f"the run needs either partitions or a list of them in the configuration of {step.context.op_def.name},"
        " and not both",
        allow_retries=False,
    )


def known_keys(step: Step, listed: Sequence[str]) -> list[str]:
    """Return each listed key once, as defined; raises `dg.Failure` for an unknown one."""
    keys = step.partitions_def.get_partition_keys(dynamic_partitions_store=step.instance)
    known = {str(key): key for key in keys}
    unknown = [key for key in dict.fromkeys(listed) if key not in known]
    if unknown:
        raise _unknown(step, unknown)
    return [known[key] for key in dict.fromkeys(listed)]
