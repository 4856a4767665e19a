"""What the decorator accepts, and the signature that it shows to Dagster."""

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.isolation import PartitionsConfig, per_partition

LETTERS = dg.StaticPartitionsDefinition(list("ab"))


class Api(dg.ConfigurableResource[Any]):
    """A resource."""


def test_the_signature_is_without_the_partition_key() -> None:
    """Dagster does not see an upstream asset in a keyword-only parameter."""

    @per_partition
    async def function(partition_key: str, *, config: PartitionsConfig, upstream: int, api: Api) -> None: ...

    parameters = inspect.signature(function).parameters

    assert list(parameters) == ["context", "config", "upstream", "api"]
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    asset = dg.asset(partitions_def=LETTERS)(function)
    assert set(asset.keys_by_input_name.values()) == {dg.AssetKey("upstream")}
    assert asset.required_resource_keys == {"api", "io_manager"}


@pytest.mark.parametrize("name", ["context", "_context", "_"])
def test_a_context_may_be_asked_for(name: str) -> None:
    """The parameter may have each name that Dagster knows."""
    namespace: dict[str, Any] = {}
    exec(f"def function({name}, partition_key): ...", namespace)  # noqa: S102 - the name is a parameter of the test

    assert list(inspect.signature(per_partition(namespace["function"])).parameters) == ["context"]


def test_a_function_without_partition_key_is_refused() -> None:
    """Such a function could not know its partition."""
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="wrong needs a parameter `partition_key`"):

        @per_partition
        def wrong() -> None: ...


def test_a_function_that_yields_is_refused() -> None:
    """Plain and asynchronous generators are refused."""
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="return the result"):

        @per_partition
        def plain(partition_key: str) -> Iterator[int]:
            yield 1

    with pytest.raises(dg.DagsterInvalidDefinitionError, match="return the result"):

        @per_partition
        async def asynchronous(partition_key: str) -> AsyncIterator[int]:
            yield 1


def test_a_plain_function_with_a_timeout_is_refused() -> None:
    """A running thread cannot be stopped."""
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="a thread cannot be stopped"):

        @per_partition(timeout_s=1)
        def plain(partition_key: str) -> None: ...
