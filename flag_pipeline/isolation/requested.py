"""Which partitions a run is for: those of its partition or range, or a list in its configuration."""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from flag_pipeline.isolation.dagster_private import plan_partitions
from flag_pipeline.isolation.step import Step

NAMED_UNKNOWN = 10


class PartitionsConfig(dg.Config):
    """The configuration of an asset whose runs may be for a scattered list of partitions."""

    partition_keys: list[str] = Field(
        default=[],
        description="Partitions for a run that is launched without any: however scattered, they are one run.",
    )


def requested_keys(step: Step, listed: Sequence[str] | None) -> list[str]:
    """Return the partitions of the run, or those that are *listed*, which are then recorded as planned.

    *listed* is None where the asset has no `PartitionsConfig`. Raises `dg.Failure` if there is nothing to run, if there
    are both, or if a listed partition does not exist.
    """
    context = step.context
    if context.has_partition_key or context.has_partition_key_range:
        if listed:
            raise _either_or(step)
        return list(dict.fromkeys(context.partition_keys))
    if listed is None:
        raise dg.Failure(
            f"This run has no partition: launch {context.op_def.name} with a partition or a range, or give its function"
            " a parameter `config: PartitionsConfig` and list partition_keys.",
            allow_retries=False,
        )
    if not listed:
        raise _either_or(step)
    keys = known_keys(step, listed)
    if not context.retry_number:
        plan_partitions(step.execution, step.assets.selected, keys)
    return keys


def _either_or(step: Step) -> dg.Failure:
    return dg.Failure(
        "Choose partitions, or list partition_keys in the configuration of"
        f" {step.context.op_def.name}: one of the two.",
        allow_retries=False,
    )


def known_keys(step: Step, listed: Sequence[str]) -> list[str]:
    """Return the listed keys once each, as their partitions definition has them."""
    keys = step.partitions_def.get_partition_keys(dynamic_partitions_store=step.instance)
    known = {str(key): key for key in keys}
    unknown = [key for key in dict.fromkeys(listed) if key not in known]
    if unknown:
        more = f" and {len(unknown) - NAMED_UNKNOWN} more" if len(unknown) > NAMED_UNKNOWN else ""
        raise dg.Failure(
            f"{step.context.op_def.name} has no partitions {', '.join(unknown[:NAMED_UNKNOWN])}{more}.",
            allow_retries=False,
        )
    return [known[key] for key in dict.fromkeys(listed)]
