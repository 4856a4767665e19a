"""Retries at both levels: of one partition inside the step, and of the step."""

import asyncio
from collections import Counter

import dagster as dg

from flag_pipeline.isolation import Absent, Failed, per_partition, read_statuses
from flag_pipeline_tests.integration.isolation.runs import (
    LETTERS,
    SINGLE_RUN,
    colours,
    events,
    failure_text,
    ranged,
    retrying,
)


def test_a_partition_is_retried_as_its_policy_says(instance: dg.DagsterInstance) -> None:
    """What passes succeeds, a lasting failure is tried once, and RetryRequested brings its own limit."""
    calls = Counter[str]()

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition(retry_policy=dg.RetryPolicy(max_retries=2))
    async def isolated(partition_key: str) -> Failed | None:
        calls[partition_key] += 1
        if partition_key == "b":
            raise dg.Failure("lasting", allow_retries=False)
        if partition_key == "c":
            raise dg.RetryRequested(max_retries=4, seconds_to_wait=0) from OSError("busy")
        if partition_key == "d":
            return Failed("gone for good", is_transient=False)
        if calls[partition_key] < 3:
            raise ValueError("flaky")
        return None

    result = dg.materialize([isolated], instance=instance, tags=ranged("a", "e"), raise_on_error=False)

    assert calls == {"a": 3, "b": 1, "c": 5, "d": 1, "e": 3}
    assert colours(instance, isolated)["isolated"] == (["a", "e"], ["b", "c", "d"])
    assert "c OSError: busy" in failure_text(result)
    materialization = events(instance, "isolated", "a")[0].asset_materialization
    assert materialization is not None
    assert materialization.metadata["attempts"].value == 3


def test_a_retried_step_skips_what_the_run_has_recorded(instance: dg.DagsterInstance) -> None:
    """Only the partition that failed is called again; the absent one has its answer."""
    called: list[str] = []

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN, retry_policy=dg.RetryPolicy(max_retries=2))
    @per_partition
    def isolated(context: dg.AssetExecutionContext, partition_key: str) -> Absent | None:
        called.append(partition_key)
        if partition_key == "b" and context.retry_number < 2:
            raise ValueError("flaky")
        return Absent("none") if partition_key == "c" else None

    result = dg.materialize([isolated], instance=instance, tags=ranged("a", "e"))

    assert result.success
    assert sorted(called) == list("abbbcde")
    assert len(events(instance, "isolated")) == 4


def test_a_step_is_not_retried_for_lasting_failures(instance: dg.DagsterInstance) -> None:
    """A retry could not help; one transient failure among them is enough for it."""
    called: list[str] = []

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN, retry_policy=dg.RetryPolicy(max_retries=1))
    @per_partition
    def isolated(partition_key: str) -> Failed | None:
        called.append(partition_key)
        return Failed("no", is_transient=partition_key == "c") if partition_key in "bc" else None

    dg.materialize([isolated], instance=instance, tags=ranged("a", "b"), raise_on_error=False)
    assert sorted(called) == list("ab")

    called.clear()
    dg.materialize([isolated], instance=instance, tags=ranged("b", "c"), raise_on_error=False)
    assert sorted(called) == list("bbcc")


def test_a_step_that_will_be_retried_carries_nothing_over_yet(instance: dg.DagsterInstance) -> None:
    """A re-executed run whose step succeeds at its second attempt records nothing again."""
    attempts = Counter[str]()

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN, retry_policy=dg.RetryPolicy(max_retries=1))
    @per_partition
    async def isolated(partition_key: str) -> None:
        attempts[partition_key] += 1
        if partition_key == "b" and attempts["b"] < 4:
            raise ValueError("flaky")

    first = dg.materialize([isolated], instance=instance, tags=ranged("a", "b"), raise_on_error=False)
    second = dg.materialize([isolated], instance=instance, tags=ranged("a", "b") | retrying(first))

    assert second.success
    assert attempts == {"a": 1, "b": 4}
    assert len(events(instance, "isolated", "a")) == 1


def test_a_slow_partition_fails_alone(instance: dg.DagsterInstance) -> None:
    """After timeout_s it is cancelled, and its status says why."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition(timeout_s=0.05)
    async def isolated(partition_key: str) -> None:
        if partition_key == "b":
            await asyncio.Event().wait()

    dg.materialize([isolated], instance=instance, tags=ranged("a", "c"), raise_on_error=False)

    failed = read_statuses(instance, isolated.key, "abc").failed
    assert {key: (miss.kind, miss.reason) for key, miss in failed.items()} == {
        "b": ("timeout", "no result after 0.05 s")
    }


def test_the_deadline_of_the_step_fails_what_is_not_done(instance: dg.DagsterInstance) -> None:
    """What was done before is green; the rest fails with kind `timeout`."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition(max_concurrent=1, step_timeout_s=1)
    async def isolated(partition_key: str) -> None:
        if partition_key > "b":
            await asyncio.Event().wait()

    dg.materialize([isolated], instance=instance, tags=ranged("a", "e"), raise_on_error=False)

    assert colours(instance, isolated)["isolated"] == (list("ab"), list("cde"))
    failed = read_statuses(instance, isolated.key, "abcde").failed
    assert {miss.kind for miss in failed.values()} == {"timeout"}
