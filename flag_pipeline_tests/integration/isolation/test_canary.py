"""The one branch of Dagster that the isolation leans on: an output that satisfies what depends on it, and no event."""

import dagster as dg
import pytest

from flag_pipeline.isolation import per_partition
from flag_pipeline.isolation.dagster_private import NO_ASSET_EVENT
from flag_pipeline_tests.integration.isolation.runs import LETTERS, SINGLE_RUN, colours, events, ranged


def test_an_output_with_this_metadata_writes_no_asset_event(instance: dg.DagsterInstance) -> None:
    """Dagster lets the downstream step run and records no materialization of the upstream asset."""
    ran: list[str] = []

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    def upstream() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={NO_ASSET_EVENT: True})

    @dg.asset(partitions_def=LETTERS, deps=[upstream], backfill_policy=SINGLE_RUN)
    def downstream() -> None:
        ran.append("downstream")

    result = dg.materialize([upstream, downstream], instance=instance, tags=ranged("a", "c"))

    assert result.success
    assert ran == ["downstream"]
    assert events(instance, "upstream") == []
    assert len(events(instance, "downstream")) == 3


@pytest.mark.parametrize("is_async", [True, False])
def test_steps_downstream_of_a_run_in_which_all_succeeded_are_run(
    instance: dg.DagsterInstance, *, is_async: bool
) -> None:
    """Each partition is recorded once, and the downstream asset of the same run follows."""

    async def asynchronous(partition_key: str) -> None:
        pass

    def plain(partition_key: str) -> None:
        pass

    function = per_partition(asynchronous if is_async else plain)
    upstream = dg.asset(name="upstream", partitions_def=LETTERS, backfill_policy=SINGLE_RUN)(function)

    @dg.asset(partitions_def=LETTERS, deps=[upstream], backfill_policy=SINGLE_RUN)
    def downstream() -> None:
        pass

    result = dg.materialize([upstream, downstream], instance=instance, tags=ranged("a", "c"))

    assert result.success
    assert colours(instance, upstream) == {"upstream": (["a", "b", "c"], [])}
    assert colours(instance, downstream) == {"downstream": (["a", "b", "c"], [])}
    assert len(events(instance, "upstream")) == 3


def test_steps_downstream_of_a_failed_step_are_not_run(instance: dg.DagsterInstance) -> None:
    """Dagster abandons them with all their partitions: the how-to says what to do instead."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    def upstream(partition_key: str) -> None:
        if partition_key == "b":
            raise ValueError("no b")

    @dg.asset(partitions_def=LETTERS, deps=[upstream], backfill_policy=SINGLE_RUN)
    def downstream() -> None:
        pass

    result = dg.materialize([upstream, downstream], instance=instance, tags=ranged("a", "c"), raise_on_error=False)

    assert not result.success
    assert colours(instance, upstream) == {"upstream": (["a", "c"], ["b"])}
    assert colours(instance, downstream) == {"downstream": ([], ["a", "b", "c"])}
