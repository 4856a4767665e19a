"""What the table of docs/isolation.md says of hooks, freshness and others that no other test holds."""

from datetime import timedelta

import dagster as dg

from flag_pipeline.isolation import per_partition
from flag_pipeline_tests.integration.isolation.runs import LETTERS, SINGLE_RUN, colours, ranged


def test_hooks_run_once_for_the_step(instance: dg.DagsterInstance) -> None:
    """A success hook for a step in which all succeeded, a failure hook for one in which any failed."""
    said: list[str] = []
    broken: set[str] = set()

    @dg.success_hook
    def on_success(context: dg.HookContext) -> None:
        said.append("success")

    @dg.failure_hook
    def on_failure(context: dg.HookContext) -> None:
        said.append(str(context.op_exception).splitlines()[0])

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN, hooks={on_success, on_failure})
    @per_partition
    async def isolated(partition_key: str) -> None:
        if partition_key in broken:
            raise ValueError

    dg.materialize([isolated], instance=instance, tags=ranged("a", "c"))
    broken.add("b")
    dg.materialize([isolated], instance=instance, tags=ranged("a", "c"), raise_on_error=False)

    assert said == ["success", "1 of 3 partitions failed"]


def test_one_materialized_partition_makes_the_asset_fresh(instance: dg.DagsterInstance) -> None:
    """A freshness policy goes by the asset's latest materialization, whichever partition it is of."""

    @dg.asset(
        partitions_def=LETTERS,
        backfill_policy=SINGLE_RUN,
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(days=1)),
    )
    @per_partition
    async def isolated(partition_key: str) -> None:
        if partition_key != "b":
            raise ValueError

    dg.materialize([isolated], instance=instance, tags=ranged("a", "c"), raise_on_error=False)

    record = instance.get_asset_records([isolated.key])[0]
    assert record.asset_entry.last_materialization is not None
    assert colours(instance, isolated)["isolated"] == (["b"], ["a", "c"])


def test_a_chain_in_one_multi_asset_goes_on_for_the_partitions_that_succeeded(instance: dg.DagsterInstance) -> None:
    """A failed step abandons the steps downstream; inside one function a failure costs its own partition only."""
    specs = [dg.AssetSpec("raw"), dg.AssetSpec("clean", deps=["raw"])]

    @dg.multi_asset(specs=specs, partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    async def both(partition_key: str) -> None:
        if partition_key == "b":
            raise ValueError

    dg.materialize([both], instance=instance, tags=ranged("a", "c"), raise_on_error=False)

    assert colours(instance, both) == {"clean": (["a", "c"], ["b"]), "raw": (["a", "c"], ["b"])}


def test_without_a_backfill_policy_a_range_is_still_one_run(instance: dg.DagsterInstance) -> None:
    """The policy only decides how many runs a backfill makes."""

    @dg.asset(partitions_def=LETTERS)
    @per_partition
    async def isolated(partition_key: str) -> None:
        if partition_key == "b":
            raise ValueError

    dg.materialize([isolated], instance=instance, tags=ranged("a", "c"), raise_on_error=False)

    assert colours(instance, isolated)["isolated"] == (["a", "c"], ["b"])
