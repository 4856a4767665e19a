"""What Dagster's automation makes of isolated assets, and the sensor that runs failed partitions again."""

import json
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.isolation import (
    Absent,
    Failed,
    HealingPolicy,
    PartitionsConfig,
    healing_sensor,
    per_partition,
    read_statuses,
)
from flag_pipeline_tests.integration.isolation.runs import LETTERS, SINGLE_RUN, listed, ranged

AT_ONCE = HealingPolicy(max_attempts=2, delay_s=0)


def isolated_asset(
    broken: dict[str, Absent | Failed], condition: dg.AutomationCondition[Any] | None = None
) -> dg.AssetsDefinition:
    """An isolated asset whose partitions end as the test says."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN, automation_condition=condition)
    @per_partition
    async def isolated(partition_key: str, config: PartitionsConfig) -> Absent | Failed | None:
        return broken.get(partition_key)

    return isolated


def refresh_job(asset: dg.AssetsDefinition) -> dg.JobDefinition:
    """The job that materializes the asset."""
    return dg.Definitions([asset], jobs=[dg.define_asset_job("refresh", [asset])]).resolve_job_def("refresh")


def tick(
    instance: dg.DagsterInstance, sensor: dg.SensorDefinition, cursor: str | None = None
) -> dg._core.definitions.sensor_definition.SensorExecutionData:
    """Evaluate the sensor once."""
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        return sensor.evaluate_tick(context)


def test_missing_asks_for_absent_partitions_for_ever(instance: dg.DagsterInstance) -> None:
    """Dagster counts a partition as missing until it is materialized: use `eager()` or the sensor instead."""
    condition = dg.AutomationCondition.missing()
    asset = isolated_asset({"b": Absent("none"), "c": Failed("down")}, condition)
    dg.materialize([asset], instance=instance, tags=ranged("a", "e"), raise_on_error=False)

    result = dg.evaluate_automation_conditions(dg.Definitions([asset]), instance)

    assert sorted(filter(None, result.get_requested_partitions(asset.key))) == ["b", "c"]


def test_eager_follows_what_was_materialized(instance: dg.DagsterInstance) -> None:
    """Downstream partitions of failed and absent ones are not asked for."""
    asset = isolated_asset({"b": Absent("none"), "c": Failed("down")})

    @dg.asset(partitions_def=LETTERS, deps=[asset], automation_condition=dg.AutomationCondition.eager())
    def follower() -> None:
        pass

    defs = dg.Definitions([asset, follower])
    before = dg.evaluate_automation_conditions(defs, instance)
    dg.materialize([asset], instance=instance, tags=ranged("a", "e"), raise_on_error=False)

    result = dg.evaluate_automation_conditions(defs, instance, cursor=before.cursor)

    assert sorted(filter(None, result.get_requested_partitions(follower.key))) == ["a", "d", "e"]


def test_the_sensor_runs_transient_failures_again(instance: dg.DagsterInstance) -> None:
    """One run for all of them, by the list in its configuration; a lasting failure and an absence stay."""
    broken: dict[str, Absent | Failed] = {
        "a": Failed("down"),
        "b": Absent("none"),
        "c": Failed("refused", is_transient=False),
        "e": Failed("down"),
    }
    asset = isolated_asset(broken)
    job = refresh_job(asset)
    sensor = healing_sensor(asset, job, policy=AT_ONCE, minimum_interval_seconds=60)
    assert tick(instance, sensor).skip_message == "No partition has failed."
    job.execute_in_process(instance=instance, tags=ranged("a", "e"), raise_on_error=False)

    first = tick(instance, sensor)
    assert first.run_requests is not None
    request = first.run_requests[0]
    assert request.run_config == listed(asset, "a", "e")
    assert request.tags["isolation/healing"] == "a,e"

    del broken["a"]
    job.execute_in_process(instance=instance, run_config=dict(request.run_config), raise_on_error=False)
    second = tick(instance, sensor, first.cursor)
    assert second.run_requests is not None
    assert second.run_requests[0].run_config == listed(asset, "e")
    assert second.run_requests[0].run_key != request.run_key

    third = tick(instance, sensor, second.cursor)
    assert not third.run_requests
    assert third.skip_message == (
        "Given up after the last attempt, run them by hand: e."
        " Failed for a reason that does not pass by itself, see their observations: c."
    )
    assert json.loads(third.cursor or "") == {"e": 2}
    assert list(read_statuses(instance, asset.key, "abcde").failed) == ["c", "e"]


def test_the_sensor_waits_for_an_unfinished_run(instance: dg.DagsterInstance) -> None:
    """Two runs of the same asset at once would ask its source twice."""
    asset = isolated_asset({"a": Failed("down")})
    job = refresh_job(asset)
    sensor = healing_sensor(asset, job, policy=AT_ONCE)
    job.execute_in_process(instance=instance, tags=ranged("a", "b"), raise_on_error=False)
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)

    assert f"Run {run.run_id} has not ended" in (tick(instance, sensor).skip_message or "")


def test_the_sensor_needs_an_asset_that_can_be_given_a_list() -> None:
    """What to add is said when it is defined."""

    @dg.asset(partitions_def=LETTERS)
    @per_partition
    async def isolated(partition_key: str) -> None:
        pass

    with pytest.raises(dg.DagsterInvalidDefinitionError, match="config: PartitionsConfig"):
        healing_sensor(isolated, refresh_job(isolated))


def test_the_sensor_needs_partitions(instance: dg.DagsterInstance) -> None:
    """There is nothing to heal in part otherwise."""

    @dg.asset
    @per_partition
    async def isolated(partition_key: str, config: PartitionsConfig) -> None:
        pass

    with pytest.raises(dg.DagsterInvalidDefinitionError, match="isolated has no partitions"):
        healing_sensor(isolated, refresh_job(isolated))


def test_the_sensor_takes_another_way_to_ask_and_to_judge(instance: dg.DagsterInstance) -> None:
    """Some assets' configuration lists partitions under another name."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    async def isolated(partition_key: str) -> Failed:
        return Failed("no", kind=f"kind_{partition_key}", is_transient=False)

    job = refresh_job(isolated)
    sensor = healing_sensor(
        isolated,
        job,
        name="mend",
        policy=AT_ONCE,
        run_config=lambda keys: {"mine": list(keys)},
        may_pass=lambda miss: miss.kind == "kind_b",
    )
    job.execute_in_process(instance=instance, tags=ranged("a", "c"), raise_on_error=False)

    requests = tick(instance, sensor).run_requests

    assert sensor.name == "mend"
    assert requests is not None
    assert requests[0].run_config == {"mine": ["b"]}
