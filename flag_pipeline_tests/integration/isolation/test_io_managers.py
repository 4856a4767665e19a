"""Values: what isolated functions return to I/O managers, and what they are given of upstream assets."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.isolation import per_partition, read_statuses
from flag_pipeline_tests.integration.isolation.runs import LETTERS, SINGLE_RUN, colours, events, failure_text, ranged


@pytest.fixture
def resources(tmp_path: Path) -> dict[str, Any]:
    """An I/O manager that keeps values in files."""
    return {"io_manager": dg.FilesystemIOManager(base_dir=str(tmp_path / "values"))}


def number_asset() -> dg.AssetsDefinition:
    """An isolated asset with a value for each partition but `b`."""

    @dg.asset(name="number", partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    def number(context: dg.AssetExecutionContext, partition_key: str) -> int:
        context.add_asset_metadata({"length": 1}, partition_key=partition_key)
        if partition_key == "b":
            raise ValueError("no b")
        return ord(partition_key)

    return number


@pytest.mark.parametrize("is_async", [True, False])
def test_each_partition_is_stored_on_its_own(
    instance: dg.DagsterInstance, resources: dict[str, Any], tmp_path: Path, *, is_async: bool
) -> None:
    """A file for each partition that succeeded, with the metadata of the I/O manager; None is no value."""

    async def asynchronous(partition_key: str) -> int | None:
        return None if partition_key == "c" else 1 // (partition_key != "b")

    def plain(partition_key: str) -> int | None:
        return None if partition_key == "c" else 1 // (partition_key != "b")

    function = per_partition(asynchronous if is_async else plain)
    number = dg.asset(name="number", partitions_def=LETTERS, backfill_policy=SINGLE_RUN)(function)

    dg.materialize([number], instance=instance, resources=resources, tags=ranged("a", "d"), raise_on_error=False)

    assert sorted(path.name for path in (tmp_path / "values" / "number").iterdir()) == ["a", "d"]
    assert colours(instance, number)["number"] == (["a", "c", "d"], ["b"])
    materialization = events(instance, "number", "a")[0].asset_materialization
    assert materialization is not None
    assert "path" in materialization.metadata


def test_metadata_that_the_context_is_given_for_a_partition(
    instance: dg.DagsterInstance, resources: dict[str, Any]
) -> None:
    """`add_asset_metadata` with a partition key works as in a plain asset."""
    number = number_asset()

    dg.materialize([number], instance=instance, resources=resources, tags=ranged("a", "c"), raise_on_error=False)

    materialization = events(instance, "number", "c")[0].asset_materialization
    assert materialization is not None
    assert materialization.metadata["length"].value == 1


def test_a_plain_downstream_asset_loads_the_value(instance: dg.DagsterInstance, resources: dict[str, Any]) -> None:
    """The I/O manager stored it as for any upstream asset."""
    number = number_asset()

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    def following(number: int) -> int:
        return number + 1

    assets = [number, following]
    result = dg.materialize(assets, instance=instance, resources=resources, partition_key="c")

    assert result.output_for_node("following") == 100


def test_an_upstream_argument_is_the_value_of_the_partition(
    instance: dg.DagsterInstance, resources: dict[str, Any]
) -> None:
    """A run of one partition and a run of a range both get it."""
    values: dict[str, int] = {}

    @dg.asset(partitions_def=LETTERS)
    def number(context: dg.AssetExecutionContext) -> int:
        return ord(context.partition_key)

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    def isolated(partition_key: str, number) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - any value
        values[partition_key] = number

    for key in "abc":
        dg.materialize([number], instance=instance, resources=resources, partition_key=key)
    for tags in (ranged("a", "b"), {"dagster/partition": "c"}):
        dg.materialize([number, isolated], selection=[isolated], instance=instance, resources=resources, tags=tags)

    assert values == {"a": 97, "b": 98, "c": 99}


def test_a_partition_that_depends_on_several_gets_a_dict(
    instance: dg.DagsterInstance, resources: dict[str, Any]
) -> None:
    """A mapping gives several; a parameter that is declared a dict has what Dagster loads."""
    values: dict[str, dict[str, int]] = {}
    mapping = dg.StaticPartitionMapping({"a": "x", "b": "x", "c": "y"})

    @dg.asset(partitions_def=LETTERS)
    def number(context: dg.AssetExecutionContext) -> int:
        return ord(context.partition_key)

    ins = {"number": dg.AssetIn("number", partition_mapping=mapping)}
    pairs = dg.StaticPartitionsDefinition(["x", "y"])

    @dg.asset(partitions_def=pairs, backfill_policy=SINGLE_RUN, ins=ins)
    @per_partition
    def isolated(partition_key: str, number) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - any value
        values[partition_key] = number

    @dg.asset(partitions_def=pairs, backfill_policy=SINGLE_RUN, ins=ins)
    @per_partition
    def typed(partition_key: str, number: dict[str, int]) -> None:
        values[f"typed {partition_key}"] = number

    for key in "abc":
        dg.materialize([number], instance=instance, resources=resources, partition_key=key)
    for asset in (isolated, typed):
        dg.materialize(
            [number, asset], selection=[asset], instance=instance, resources=resources, tags=ranged("x", "y")
        )

    loaded = {"a": 97, "b": 98, "c": 99}
    assert values == {"x": {"a": 97, "b": 98}, "y": 99, "typed x": loaded, "typed y": loaded}


def test_a_dict_of_one_partition_is_its_value(instance: dg.DagsterInstance, resources: dict[str, Any]) -> None:
    """A value that is a dict itself is not taken for one of partitions; nor is that of an asset without any."""
    values: list[Any] = []

    @dg.asset(partitions_def=LETTERS)
    def number() -> dict[str, int]:
        return {"a": 1}

    @dg.asset
    def whole() -> dict[str, int]:
        return {"a": 2}

    @dg.asset(partitions_def=LETTERS)
    @per_partition
    def isolated(partition_key: str, number, whole) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - any value
        values.extend([number, whole])

    dg.materialize([number, whole, isolated], instance=instance, resources=resources, partition_key="a")

    assert values == [{"a": 1}, {"a": 2}]


def test_a_value_that_is_not_there_fails_the_step_as_an_argument(
    instance: dg.DagsterInstance, resources: dict[str, Any]
) -> None:
    """Dagster loads arguments before the function; the partition alone fails with `load_asset_value`."""
    number = number_asset()
    dg.materialize([number], instance=instance, resources=resources, tags=ranged("a", "c"), raise_on_error=False)

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    def by_argument(partition_key: str, number) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - any value
        pass

    @dg.asset(partitions_def=LETTERS, deps=[number], backfill_policy=SINGLE_RUN)
    @per_partition
    def by_loading(context: dg.AssetExecutionContext, partition_key: str) -> int:
        return int(context.load_asset_value(dg.AssetKey("number"), partition_key=partition_key))

    for asset in (by_argument, by_loading):
        dg.materialize(
            [number, asset],
            selection=[asset],
            instance=instance,
            resources=resources,
            tags=ranged("a", "c"),
            raise_on_error=False,
        )

    assert colours(instance, by_argument)["by_argument"] == ([], ["a", "b", "c"])
    assert colours(instance, by_loading)["by_loading"] == (["a", "c"], ["b"])


def test_an_optional_upstream_partition_that_is_missing_fails_one(
    instance: dg.DagsterInstance, resources: dict[str, Any]
) -> None:
    """With `allow_missing_partitions` Dagster leaves it out of the argument."""
    number = number_asset()
    dg.materialize([number], instance=instance, resources=resources, tags=ranged("a", "c"), raise_on_error=False)
    metadata = {"allow_missing_partitions": True}

    @dg.asset(
        partitions_def=LETTERS, backfill_policy=SINGLE_RUN, ins={"number": dg.AssetIn("number", metadata=metadata)}
    )
    @per_partition
    def isolated(partition_key: str, number) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - any value
        pass

    dg.materialize(
        [number, isolated],
        selection=[isolated],
        instance=instance,
        resources=resources,
        tags=ranged("a", "c"),
        raise_on_error=False,
    )

    assert "no partition b" in read_statuses(instance, isolated.key, "abc").failed["b"].reason


class WindowIOManager(dg.IOManager):
    """Notes the time window, the partition and what was stored, as one that writes to a database does."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, str, list[str], Any]] = []

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Note it."""
        if obj == "bad":
            raise OSError("disk full")
        start = context.asset_partitions_time_window.start.date().isoformat()
        context.add_output_metadata({"rows": 1})
        self.stored.append((start, context.asset_partition_key, list(context.asset_partition_keys), obj))

    def load_input(self, context: dg.InputContext) -> Any:
        """Load nothing."""


def test_an_io_manager_sees_one_partition_at_a_time(instance: dg.DagsterInstance) -> None:
    """Its key and its time window; what it raises fails that partition."""
    io_manager = WindowIOManager()

    @dg.asset(partitions_def=dg.DailyPartitionsDefinition("2024-01-01"), backfill_policy=SINGLE_RUN)
    @per_partition
    async def daily(partition_key: str) -> dg.Output[str]:
        return dg.Output("bad" if partition_key.endswith("02") else partition_key, metadata={"mine": 2})

    result = dg.materialize(
        [daily],
        instance=instance,
        resources={"io_manager": io_manager},
        tags=ranged("2024-01-01", "2024-01-03"),
        raise_on_error=False,
    )

    days = ["2024-01-01", "2024-01-03"]
    assert sorted(io_manager.stored) == [(day, day, [day], day) for day in days]
    assert colours(instance, daily)["daily"] == (days, ["2024-01-02"])
    assert "OSError: disk full" in failure_text(result)
    materialization = events(instance, "daily", days[0])[0].asset_materialization
    assert materialization is not None
    assert {name: value.value for name, value in materialization.metadata.items()} == {"rows": 1, "mine": 2}


def test_a_value_for_an_asset_without_an_io_manager_fails_its_partition(instance: dg.DagsterInstance) -> None:
    """The assets of a multi_asset that are made from specs have no value."""

    @dg.multi_asset(specs=[dg.AssetSpec("only")], partitions_def=LETTERS)
    @per_partition
    async def isolated(partition_key: str) -> int:
        return 1

    result = dg.materialize([isolated], instance=instance, partition_key="a", raise_on_error=False)

    assert "Declare it with dg.AssetOut" in failure_text(result)
