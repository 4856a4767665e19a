"""One failure in a range: Dagster's UI shows it red and the rest green, for every kind of partition."""

from typing import Any

import dagster as dg
import pytest

from flag_pipeline.isolation import Absent, Failed, PartitionsConfig, Unchanged, per_partition, read_statuses
from flag_pipeline_tests.integration.isolation.runs import (
    LETTERS,
    SINGLE_RUN,
    colours,
    events,
    failure_text,
    listed,
    ranged,
    tags_of,
)

PLAIN_KEYS = ["é ü", "a/b", "x" * 300, "q'\"%s{}", "<b>|&\\", "_", "20% off, 1..2"]
KINDS = {
    "static": (dg.StaticPartitionsDefinition(PLAIN_KEYS), PLAIN_KEYS, "a/b"),
    "daily": (
        dg.DailyPartitionsDefinition("2024-01-01"),
        ["2024-01-01", "2024-01-02", "2024-01-03"],
        "2024-01-02",
    ),
    "hourly": (
        dg.HourlyPartitionsDefinition("2024-01-01-00:00"),
        ["2024-01-01-00:00", "2024-01-01-01:00", "2024-01-01-02:00"],
        "2024-01-01-01:00",
    ),
    "dynamic": (dg.DynamicPartitionsDefinition(name="dynamic"), ["p1", "p2", "p3"], "p2"),
    "two_dimensions": (
        dg.MultiPartitionsDefinition(
            {"day": dg.DailyPartitionsDefinition("2024-01-01"), "city": dg.StaticPartitionsDefinition(["x", "y"])}
        ),
        ["x|2024-01-01", "x|2024-01-02", "y|2024-01-01", "y|2024-01-02"],
        "y|2024-01-01",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_listed", [True, False])
def test_one_failure_costs_one_partition(instance: dg.DagsterInstance, kind: str, *, is_listed: bool) -> None:
    """The others are green, also when they are listed in the configuration."""
    partitions_def, keys, bad = KINDS[kind]
    instance.add_dynamic_partitions("dynamic", ["p1", "p2", "p3"])

    @dg.asset(partitions_def=partitions_def, backfill_policy=SINGLE_RUN)
    @per_partition
    async def isolated(partition_key: str, config: PartitionsConfig) -> None:
        if partition_key == bad:
            raise ValueError(partition_key)

    tags, config = ({}, listed(isolated, *keys)) if is_listed else (ranged(keys[0], keys[-1]), {})
    result = dg.materialize([isolated], instance=instance, tags=tags, run_config=config, raise_on_error=False)

    assert not result.success
    assert colours(instance, isolated) == {"isolated": (sorted({*keys} - {bad}), [bad])}
    statuses = read_statuses(instance, isolated.key, keys)
    assert list(statuses.failed) == [bad]
    assert statuses.failed[bad].kind == "ValueError"
    assert sorted(statuses.materialized) == sorted({*keys} - {bad})


def test_a_partition_of_two_dimensions_has_a_tag_for_each(instance: dg.DagsterInstance) -> None:
    """Dagster's UI filters by them."""
    partitions_def, keys, _ = KINDS["two_dimensions"]

    @dg.asset(partitions_def=partitions_def, backfill_policy=SINGLE_RUN)
    @per_partition
    async def isolated(partition_key: str) -> None:
        pass

    dg.materialize([isolated], instance=instance, tags=ranged(keys[0], keys[-1]))

    tags = tags_of(instance, "isolated", "x|2024-01-02")
    assert (tags["dagster/partition/city"], tags["dagster/partition/day"]) == ("x", "2024-01-02")


def test_an_absent_partition_fails_nothing(instance: dg.DagsterInstance) -> None:
    """A run whose only misses are absent succeeds, and its partition is neither green nor red."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    async def isolated(partition_key: str) -> Absent | None:
        return Absent("closed", metadata={"day": "Sunday"}) if partition_key == "b" else None

    result = dg.materialize([isolated], instance=instance, tags=ranged("a", "c"))

    assert result.success
    assert colours(instance, isolated) == {"isolated": (["a", "c"], [])}
    absent = read_statuses(instance, isolated.key, "abcde").absent
    assert {key: (miss.kind, miss.reason, miss.is_transient) for key, miss in absent.items()} == {
        "b": ("absent", "closed", False)
    }
    observation = events(instance, "isolated", "b", dg.DagsterEventType.ASSET_OBSERVATION)[0].asset_observation
    assert observation is not None
    assert observation.metadata["day"].value == "Sunday"


def test_an_absent_partition_of_a_failed_run_is_red_and_its_status_is_absent(instance: dg.DagsterInstance) -> None:
    """Dagster paints red what a failed run did not materialize: the status reader knows better."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    async def isolated(partition_key: str) -> Absent | Failed | None:
        if partition_key == "b":
            return Absent("closed")
        return Failed("down", kind="outage", is_transient=False) if partition_key == "c" else None

    result = dg.materialize([isolated], instance=instance, tags=ranged("a", "c"), raise_on_error=False)

    assert failure_text(result) == "1 of 3 partitions failed\nc outage: down"
    assert colours(instance, isolated) == {"isolated": (["a"], ["b", "c"])}
    statuses = read_statuses(instance, isolated.key, "abcde")
    assert (statuses.materialized, list(statuses.absent), list(statuses.failed)) == (["a"], ["b"], ["c"])
    assert statuses.missing == ["d", "e"]
    assert statuses.unmaterialized == set("bcde")
    assert not statuses.failed["c"].is_transient


def test_an_unchanged_partition_is_materialized_and_says_so(instance: dg.DagsterInstance) -> None:
    """Its outcome tag tells it from one that has changed."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    async def isolated(partition_key: str) -> Unchanged:
        return Unchanged(dg.MaterializeResult(data_version=dg.DataVersion("7")))

    dg.materialize([isolated], instance=instance, partition_key="a")

    tags = tags_of(instance, "isolated", "a")
    assert (tags["isolation/outcome"], tags["dagster/data_version"]) == ("unchanged", "7")


def test_a_plain_function_that_breaks_the_rules_fails_its_partition(instance: dg.DagsterInstance) -> None:
    """What a future cannot hold, and what should have been awaited."""

    async def coroutine() -> None:
        pass

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    def isolated(partition_key: str) -> Any:
        if partition_key == "a":
            raise StopIteration
        return coroutine() if partition_key == "b" else None

    dg.materialize([isolated], instance=instance, tags=ranged("a", "c"), raise_on_error=False)

    failed = read_statuses(instance, isolated.key, "abc").failed
    assert {key: miss.reason for key, miss in failed.items()} == {
        "a": "the function raised StopIteration",
        "b": "The function returned a coroutine: declare it with `async def`.",
    }


UNSTORABLE = {
    "metadata": dg.MaterializeResult(metadata={"m": [object()]}),
    "kind": Absent("none", kind="two words!"),
    "tags": Failed("down", tags={"t": "two words!"}),
    "surrogate": dg.MaterializeResult(data_version=dg.DataVersion("\ud800")),
    "nul": dg.MaterializeResult(data_version=dg.DataVersion("a\0b")),
}


def test_the_traceback_of_a_plain_function_is_recorded(instance: dg.DagsterInstance) -> None:
    """A TimeoutError has it too, although `asyncio` copies that error from a thread without it."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition()
    def letter(partition_key: str) -> None:
        raise {"a": ValueError, "b": TimeoutError}[partition_key](f"no {partition_key}")

    dg.materialize([letter], instance=instance, tags=ranged("a", "b"), raise_on_error=False)

    for key in ("a", "b"):
        [event] = events(instance, "letter", key, dg.DagsterEventType.ASSET_OBSERVATION)
        assert event.asset_observation is not None
        traceback = event.asset_observation.metadata["traceback"].value
        assert f"no {key}" in str(traceback)
        assert "test_colours.py" in str(traceback)
        assert "During handling" not in str(traceback)


def test_what_cannot_be_stored_fails_its_partition(instance: dg.DagsterInstance) -> None:
    """It does not reach the event log, where it would end the step."""
    keys = [*UNSTORABLE, "good"]

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(keys), backfill_policy=SINGLE_RUN)
    @per_partition
    async def isolated(partition_key: str) -> Any:
        return UNSTORABLE.get(partition_key)

    dg.materialize([isolated], instance=instance, tags=ranged(keys[0], keys[-1]), raise_on_error=False)

    assert colours(instance, isolated)["isolated"] == (["good"], sorted(UNSTORABLE))
    assert sorted(read_statuses(instance, isolated.key, keys).failed) == sorted(UNSTORABLE)


def test_a_run_in_which_all_fail_is_red(instance: dg.DagsterInstance) -> None:
    """Nothing is green, and the failure names ten."""

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition([f"{n:02}" for n in range(12)]), backfill_policy=SINGLE_RUN)
    @per_partition
    def isolated(partition_key: str) -> None:
        raise KeyError(partition_key)

    result = dg.materialize([isolated], instance=instance, tags=ranged("00", "11"), raise_on_error=False)

    lines = failure_text(result).splitlines()
    assert lines[:2] == ["12 of 12 partitions failed", "00 KeyError: '00'"]
    assert lines[-1] == "and 2 more, in the table `failed`"
    assert len(colours(instance, isolated)["isolated"][1]) == 12


@pytest.mark.parametrize("keys", [["a", "a", "nowhere"], []])
def test_a_list_that_cannot_be_run_says_why(instance: dg.DagsterInstance, keys: list[str]) -> None:
    """An unknown partition is named; an empty list asks for a choice."""

    @dg.asset(partitions_def=LETTERS)
    @per_partition
    def isolated(partition_key: str, config: PartitionsConfig) -> None:
        pass

    result = dg.materialize([isolated], instance=instance, run_config=listed(isolated, *keys), raise_on_error=False)

    assert (
        "there is no partition 'nowhere': partitions are a, b, c and 2 more" if keys else "either partitions or a list"
    ) in failure_text(result)
    assert events(instance, "isolated") == []


def test_partitions_and_a_list_at_once_are_refused(instance: dg.DagsterInstance) -> None:
    """Which of the two was meant cannot be known."""

    @dg.asset(partitions_def=LETTERS)
    @per_partition
    def isolated(partition_key: str, config: PartitionsConfig) -> None:
        pass

    config = listed(isolated, "a")
    result = dg.materialize([isolated], instance=instance, partition_key="b", run_config=config, raise_on_error=False)

    assert "either partitions or a list" in failure_text(result)


def test_a_run_without_partition_says_how_to_launch_it(instance: dg.DagsterInstance) -> None:
    """An asset without PartitionsConfig cannot be given a list."""

    @dg.asset(partitions_def=LETTERS)
    @per_partition
    def isolated(partition_key: str) -> None:
        pass

    result = dg.materialize([isolated], instance=instance, raise_on_error=False)

    assert "launch isolated with a partition or a range" in failure_text(result)


def test_an_asset_without_partitions_says_what_it_needs(instance: dg.DagsterInstance) -> None:
    """The decorator has nothing to isolate there."""

    @dg.asset
    @per_partition
    def isolated(partition_key: str, config: PartitionsConfig) -> None:
        pass

    result = dg.materialize([isolated], instance=instance, run_config=listed(isolated, "a"), raise_on_error=False)

    assert "give its asset a partitions_def" in failure_text(result)
