"""Asset checks whose results an isolated function returns."""

import dagster as dg

from flag_pipeline.isolation import per_partition
from flag_pipeline_tests.integration.isolation.runs import (
    LETTERS,
    SINGLE_RUN,
    colours,
    events,
    failure_text,
    ranged,
    retrying,
)


def test_a_check_of_each_partition_and_one_of_the_run(instance: dg.DagsterInstance) -> None:
    """A partitioned check is evaluated for each partition; one without partitions is evaluated once for all."""

    @dg.multi_asset(
        specs=[dg.AssetSpec("m"), dg.AssetSpec("i", deps=["m"])],
        partitions_def=LETTERS,
        can_subset=True,
        backfill_policy=SINGLE_RUN,
        check_specs=[
            dg.AssetCheckSpec("whole", asset="m"),
            dg.AssetCheckSpec("each", asset="i", partitions_def=LETTERS),
        ],
    )
    @per_partition
    async def both(partition_key: str) -> list[dg.MaterializeResult[None]]:
        if partition_key == "b":
            raise ValueError
        whole = dg.AssetCheckResult(
            check_name="whole", passed=partition_key != "c", severity=dg.AssetCheckSeverity.WARN
        )
        each = dg.AssetCheckResult(check_name="each", passed=partition_key != "d", metadata={"key": partition_key})
        return [
            dg.MaterializeResult(asset_key="m", check_results=[whole]),
            dg.MaterializeResult(asset_key="i", check_results=[each]),
        ]

    result = dg.materialize([both], instance=instance, tags=ranged("a", "e"), raise_on_error=False)

    evaluations = sorted((e.check_name, e.partition or "", e.passed) for e in result.get_asset_check_evaluations())
    assert evaluations == [
        ("each", "a", True),
        ("each", "c", True),
        ("each", "d", False),
        ("each", "e", True),
        ("whole", "", False),
    ]
    whole = next(e for e in result.get_asset_check_evaluations() if e.check_name == "whole")
    assert (whole.metadata["failed_partitions"].value, whole.metadata["partitions"].value) == (["c"], 4)
    assert whole.severity is dg.AssetCheckSeverity.WARN
    of_a = next(e for e in result.get_asset_check_evaluations() if e.partition == "a")
    assert of_a.target_materialization_data is not None
    assert of_a.target_materialization_data.storage_id == events(instance, "i", "a")[0].storage_id

    alone = dg.materialize([both], selection=["i"], instance=instance, tags=ranged("c", "e"))
    assert {event.asset_key for event in alone.get_asset_materialization_events()} == {dg.AssetKey("i")}
    assert {e.check_name for e in alone.get_asset_check_evaluations()} == {"each"}


def test_a_blocking_check_fails_the_step_after_all_partitions(instance: dg.DagsterInstance) -> None:
    """What it checks is materialized, as with a plain asset, and nothing downstream runs."""

    @dg.asset(
        partitions_def=LETTERS,
        check_specs=[dg.AssetCheckSpec("sound", asset="isolated", blocking=True)],
        backfill_policy=SINGLE_RUN,
    )
    @per_partition
    def isolated(partition_key: str) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=partition_key != "c")])

    @dg.asset(partitions_def=LETTERS, deps=[isolated], backfill_policy=SINGLE_RUN)
    def downstream() -> None:
        pass

    assets = [isolated, downstream]
    result = dg.materialize(assets, instance=instance, tags=ranged("a", "e"), raise_on_error=False)

    assert failure_text(result) == "0 of 5 partitions failed\nThe blocking check sound failed for c"
    assert colours(instance, isolated)["isolated"] == (list("abcde"), [])
    assert colours(instance, downstream)["downstream"] == ([], list("abcde"))
    assert [e.passed for e in result.get_asset_check_evaluations()] == [False]
    assert dg.materialize(assets, instance=instance, tags=ranged("a", "b")).success


def test_a_result_of_an_unknown_check_fails_its_partition(instance: dg.DagsterInstance) -> None:
    """A plain asset's run would fail, too."""

    @dg.asset(
        partitions_def=LETTERS, check_specs=[dg.AssetCheckSpec("sound", asset="isolated")], backfill_policy=SINGLE_RUN
    )
    @per_partition
    def isolated(partition_key: str) -> dg.MaterializeResult[None]:
        name = "unknown" if partition_key == "b" else "sound"
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True, check_name=name)])

    dg.materialize([isolated], instance=instance, tags=ranged("a", "c"), raise_on_error=False)

    assert colours(instance, isolated)["isolated"] == (["a", "c"], ["b"])


def test_a_check_that_the_run_does_not_want_is_left_out(instance: dg.DagsterInstance) -> None:
    """The function returns its result nevertheless."""

    @dg.multi_asset(
        specs=[dg.AssetSpec("isolated")],
        partitions_def=LETTERS,
        can_subset=True,
        check_specs=[dg.AssetCheckSpec("sound", asset="isolated")],
        backfill_policy=SINGLE_RUN,
    )
    @per_partition
    async def isolated(partition_key: str) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=False)])

    selection = dg.AssetSelection.assets(isolated).without_checks()
    job = dg.Definitions([isolated], jobs=[dg.define_asset_job("alone", selection)]).resolve_job_def("alone")
    result = job.execute_in_process(instance=instance, tags=ranged("a", "c"))

    assert result.get_asset_check_evaluations() == []
    assert colours(instance, isolated)["isolated"] == (["a", "b", "c"], [])


def test_a_reexecution_evaluates_what_it_runs(instance: dg.DagsterInstance) -> None:
    """The evaluation of a check without partitions counts the partitions that its run has called."""
    broken = {"b"}

    @dg.asset(
        partitions_def=LETTERS, check_specs=[dg.AssetCheckSpec("sound", asset="isolated")], backfill_policy=SINGLE_RUN
    )
    @per_partition
    async def isolated(partition_key: str) -> dg.MaterializeResult[None]:
        if partition_key in broken:
            raise ValueError
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])

    first = dg.materialize([isolated], instance=instance, tags=ranged("a", "c"), raise_on_error=False)
    broken.clear()
    second = dg.materialize([isolated], instance=instance, tags=ranged("a", "c") | retrying(first))

    counts = [e.metadata["partitions"].value for run in (first, second) for e in run.get_asset_check_evaluations()]
    assert counts == [2, 1]


def test_a_separate_check_runs_once_for_the_range(instance: dg.DagsterInstance) -> None:
    """A check that has a function is a separate step, after the asset's."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    async def isolated(partition_key: str) -> None:
        pass

    @dg.asset_check(asset=isolated)
    def separate() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    job = dg.Definitions(
        [isolated], asset_checks=[separate], jobs=[dg.define_asset_job("all", dg.AssetSelection.all())]
    ).resolve_job_def("all")
    result = job.execute_in_process(instance=instance, tags=ranged("a", "c"))

    assert [e.passed for e in result.get_asset_check_evaluations()] == [True]
