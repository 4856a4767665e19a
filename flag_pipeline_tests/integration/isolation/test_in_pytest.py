"""What a user does in a test of an isolated asset: `dg.materialize`, with and without a running loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dagster as dg
import pytest
from pydantic import PrivateAttr

from flag_pipeline.isolation import partition_fn, per_partition
from flag_pipeline_tests.integration.isolation.runs import LETTERS, SINGLE_RUN, ranged


class Api(dg.ConfigurableResource[Any]):
    """A resource with a value for each partition but `b`."""

    base: str = "photo"

    async def get(self, key: str) -> str:
        """Return the partition's value."""
        await asyncio.sleep(0)
        if key == "b":
            raise ConnectionError("down")
        return f"{self.base}-{key}"


def photo_asset() -> dg.AssetsDefinition:
    """An isolated asset that takes a context and a resource."""

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN, pool="api", tags={"team": "data"})
    @per_partition(max_concurrent=2)
    async def photo(context: dg.AssetExecutionContext, partition_key: str, api: Api) -> dg.MaterializeResult[None]:
        """The photo of each letter."""
        value = await api.get(partition_key)
        context.log.info(value)
        return dg.MaterializeResult(metadata={"value": value})

    return photo


def test_an_ephemeral_instance_is_enough() -> None:
    """`dg.materialize` without an instance: the result has an event for each partition that succeeded."""
    result = dg.materialize([photo_asset()], resources={"api": Api()}, tags=ranged("a", "e"), raise_on_error=False)

    assert not result.success
    found = {event.partition: event.materialization.metadata for event in result.get_asset_materialization_events()}
    assert {key: metadata["value"].value for key, metadata in found.items()} == {key: f"photo-{key}" for key in "acde"}
    assert len(result.asset_materializations_for_node("photo")) == 4


def test_the_failure_is_raised_as_a_plain_asset_raises_it() -> None:
    """It raises `dg.Failure` with the partition and its reason."""
    with pytest.raises(dg.Failure, match="1 of 5 partitions failed\nb ConnectionError: down"):
        dg.materialize([photo_asset()], resources={"api": Api()}, tags=ranged("a", "e"))


def test_one_partition(instance: dg.DagsterInstance) -> None:
    """A run for one partition is an ordinary one."""
    result = dg.materialize([photo_asset()], instance=instance, resources={"api": Api()}, partition_key="a")

    assert result.success
    assert instance.get_materialized_partitions(dg.AssetKey("photo")) == {"a"}


async def test_the_function_alone_can_be_called() -> None:
    """A unit test needs no run: the function is what was written under the decorators."""
    context = dg.build_asset_context()

    result = await partition_fn(photo_asset())(context, partition_key="a", api=Api(base="x"))

    assert result.metadata == {"value": "x-a"}


def test_what_is_not_isolated_has_no_such_function() -> None:
    """The error says what is missing."""

    @dg.asset
    def plain() -> None:
        pass

    with pytest.raises(dg.DagsterInvariantViolationError, match="plain is not isolated"):
        partition_fn(plain)


def test_dagsters_decorator_keeps_what_it_is_given() -> None:
    """Description, policy, pool, tags and required resources are those of an ordinary asset."""
    photo = photo_asset()

    assert photo.op.description == "The photo of each letter."
    assert photo.backfill_policy == SINGLE_RUN
    assert photo.op.pool == "api"
    assert photo.tags_by_key[photo.key] == {"team": "data"}
    assert photo.required_resource_keys == {"api", "io_manager"}


# Dagster's own, of any asset: it closes its loop, which it cannot do while another one runs in the thread.
@pytest.mark.filterwarnings("ignore:coroutine 'BaseEventLoop.shutdown_asyncgens':RuntimeWarning")
@pytest.mark.parametrize("is_async", [True, False])
def test_inside_a_running_loop(instance: dg.DagsterInstance, *, is_async: bool) -> None:
    """A notebook and an asynchronous test have one; Dagster itself cannot run an async asset there."""

    async def asynchronous(partition_key: str) -> None:
        await asyncio.sleep(0)
        if partition_key == "b":
            raise ValueError("no b")

    def plain(partition_key: str) -> None:
        if partition_key == "b":
            raise ValueError("no b")

    function = per_partition(asynchronous if is_async else plain)
    asset = dg.asset(name="isolated", partitions_def=LETTERS, backfill_policy=SINGLE_RUN)(function)

    async def materialize() -> dg.ExecuteInProcessResult:
        return dg.materialize([asset], instance=instance, tags=ranged("a", "c"), raise_on_error=False)

    result = asyncio.run(materialize())

    assert not result.success
    assert instance.get_materialized_partitions(asset.key) == {"a", "c"}


class Session(dg.ConfigurableResource[Any]):
    """A resource that is opened on the run's own loop, as an HTTP session is."""

    url: str = "http://127.0.0.1"
    _loop: asyncio.AbstractEventLoop = PrivateAttr()

    @asynccontextmanager
    async def yield_for_execution(  # type: ignore[override]  # Dagster takes asynchronous ones too
        self, context: dg.InitResourceContext
    ) -> AsyncIterator["Session"]:
        """Remember the loop."""
        self._loop = asyncio.get_running_loop()
        yield self

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it was opened on."""
        return self._loop


def test_async_functions_run_on_the_loop_of_the_resources() -> None:
    """They can use what an asynchronous resource has opened."""
    loops: set[asyncio.AbstractEventLoop] = set()

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition
    async def isolated(partition_key: str, session: Session) -> None:
        loops.add(session.loop)
        loops.add(asyncio.get_running_loop())

    assert dg.materialize([isolated], resources={"session": Session()}, tags=ranged("a", "c")).success
    assert len(loops) == 1
