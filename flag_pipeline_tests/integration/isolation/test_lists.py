"""Runs for a scattered list of partitions, of assets with upstream assets that have partitions."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.isolation import PartitionsConfig, per_partition
from flag_pipeline_tests.integration.isolation.runs import (
    LETTERS,
    SINGLE_RUN,
    colours,
    events,
    listed,
    ranged,
    tags_of,
)

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-03-01")
WEEKS = dg.WeeklyPartitionsDefinition("2023-12-31")


@pytest.fixture
def resources(tmp_path: Path) -> dict[str, Any]:
    """An I/O manager that keeps values in files."""
    return {"io_manager": dg.FilesystemIOManager(base_dir=str(tmp_path / "values"))}


@dg.asset(partitions_def=LETTERS)
def letter(context: dg.AssetExecutionContext) -> str:
    """A value for each letter, made before."""
    return str(context.partition_key).upper()


def after_letter() -> dg.AssetsDefinition:
    """An asset that follows the letters without their values; it fails for `b`."""

    @dg.asset(partitions_def=LETTERS, deps=[letter], backfill_policy=SINGLE_RUN, code_version="1")
    @per_partition
    def after(partition_key: str, config: PartitionsConfig) -> None:
        if partition_key == "b":
            raise ValueError("no b")

    return after


def make_letters(instance: dg.DagsterInstance, resources: dict[str, Any], *keys: str) -> None:
    """Materialize the upstream asset."""
    for key in keys:
        dg.materialize([letter], instance=instance, resources=resources, partition_key=key)


def test_a_list_of_an_asset_with_an_upstream_asset(instance: dg.DagsterInstance, resources: dict[str, Any]) -> None:
    """Each listed partition has its colour, and the tags that a range would give it."""
    after = after_letter()
    make_letters(instance, resources, *"abd")

    dg.materialize(
        [after, letter],
        instance=instance,
        selection=[after],
        run_config=listed(after, "a", "b", "d"),
        raise_on_error=False,
    )

    assert colours(instance, after) == {"after": (["a", "d"], ["b"])}
    by_list = tags_of(instance, "after", "d")
    dg.materialize([after, letter], instance=instance, selection=[after], tags=ranged("c", "d"))
    assert by_list == tags_of(instance, "after", "d")


def test_a_list_of_an_asset_with_an_upstream_value(instance: dg.DagsterInstance, resources: dict[str, Any]) -> None:
    """Each partition gets its own value, in a list of one too."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    def doubled(partition_key: str, config: PartitionsConfig, letter: Any) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"value": 2 * letter})

    make_letters(instance, resources, *"acd")

    for keys in (["a", "d"], ["c"]):
        dg.materialize(
            [doubled, letter],
            instance=instance,
            selection=[doubled],
            resources=resources,
            run_config=listed(doubled, *keys),
        )

    found = {key: events(instance, "doubled", key)[0].asset_materialization for key in "acd"}
    assert {key: each.metadata["value"].value for key, each in found.items() if each} == {
        "a": "AA",
        "c": "CC",
        "d": "DD",
    }


def test_a_list_of_days_of_an_asset_of_weeks(instance: dg.DagsterInstance, resources: dict[str, Any]) -> None:
    """The upstream partitions of the listed ones are those of the mapping."""

    @dg.asset(partitions_def=DAYS)
    def day(context: dg.AssetExecutionContext) -> str:
        return str(context.partition_key)

    @dg.asset(partitions_def=WEEKS, backfill_policy=SINGLE_RUN)
    @per_partition
    def week(partition_key: str, config: PartitionsConfig, day: Any) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"days": len(day)})

    for number in range(7, 21):
        dg.materialize([day], instance=instance, resources=resources, partition_key=f"2024-01-{number:02}")

    dg.materialize(
        [week, day],
        instance=instance,
        selection=[week],
        resources=resources,
        run_config=listed(week, "2024-01-07", "2024-01-14"),
    )

    found = [events(instance, "week", key)[0].asset_materialization for key in ("2024-01-07", "2024-01-14")]
    assert [each.metadata["days"].value for each in found if each] == [7, 7]


def test_a_plain_asset_without_a_partition_fails_as_before(
    instance: dg.DagsterInstance, resources: dict[str, Any]
) -> None:
    """Only isolated assets take a list."""

    @dg.asset(partitions_def=LETTERS, deps=[letter])
    def plain() -> None:
        pass

    make_letters(instance, resources, "a")

    with pytest.raises(dg.DagsterInvariantViolationError, match="non-partitioned run"):
        dg.materialize([plain, letter], instance=instance, selection=[plain])


class OwnConfig(dg.Config):
    """A configuration that happens to have a field of the same name."""

    partition_keys: list[str]


def own_list(asset: dg.AssetsDefinition) -> dict[str, Any]:
    """Run configuration that names one letter."""
    return {"ops": {asset.op.name: {"config": {"partition_keys": ["a"]}}}}


def test_an_asset_without_partitions_keeps_its_own_field(
    instance: dg.DagsterInstance, resources: dict[str, Any]
) -> None:
    """Its configuration means what its author wants, and its upstream asset is all letters."""

    @dg.asset(deps=[letter])
    def summary(config: OwnConfig) -> None:
        assert config.partition_keys == ["a"]

    make_letters(instance, resources, "a")

    assert dg.materialize(
        [summary, letter], instance=instance, selection=[summary], run_config=own_list(summary)
    ).success


def test_a_plain_asset_takes_no_list(instance: dg.DagsterInstance, resources: dict[str, Any]) -> None:
    """It would be recorded without any partition."""

    @dg.asset(partitions_def=LETTERS, deps=[letter])
    def plain(config: OwnConfig) -> None:
        pass

    make_letters(instance, resources, "a")

    with pytest.raises(dg.DagsterInvariantViolationError, match="non-partitioned run"):
        dg.materialize([plain, letter], instance=instance, selection=[plain], run_config=own_list(plain))


def test_a_list_of_keys_of_two_dimensions(instance: dg.DagsterInstance, resources: dict[str, Any]) -> None:
    """Each gets the value that Dagster's I/O manager has stored for it."""
    both = dg.MultiPartitionsDefinition({"letter": LETTERS, "number": dg.StaticPartitionsDefinition(["1", "2"])})

    @dg.asset(partitions_def=both)
    def pair(context: dg.AssetExecutionContext) -> str:
        return str(context.partition_key)

    @dg.asset(partitions_def=both, backfill_policy=SINGLE_RUN)
    @per_partition
    def after(partition_key: str, config: PartitionsConfig, pair: Any) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"value": pair})

    keys = [dg.MultiPartitionKey({"letter": "a", "number": "1"}), dg.MultiPartitionKey({"letter": "b", "number": "2"})]
    for key in keys:
        dg.materialize([pair], instance=instance, resources=resources, partition_key=key)

    dg.materialize(
        [after, pair],
        instance=instance,
        selection=[after],
        resources=resources,
        run_config=listed(after, *map(str, keys)),
    )

    found = [events(instance, "after", str(key))[0].asset_materialization for key in keys]
    assert [each.metadata["value"].value for each in found if each] == ["a|1", "b|2"]


def test_unknown_key_is_named(instance: dg.DagsterInstance, resources: dict[str, Any]) -> None:
    """The upstream partitions are looked up first, which must not hide the reason."""
    after = after_letter()
    make_letters(instance, resources, "a")

    with pytest.raises(dg.Failure, match="there is no partition 'zz'"):
        dg.materialize([after, letter], instance=instance, selection=[after], run_config=listed(after, "a", "zz"))
