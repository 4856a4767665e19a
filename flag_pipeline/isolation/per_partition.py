"""`@per_partition`: the decorator that isolates the partitions of any Dagster asset."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, get_type_hints, overload

import dagster as dg

from flag_pipeline.isolation.arguments import upstream_arguments
from flag_pipeline.isolation.concurrency import Limits
from flag_pipeline.isolation.event_tags import DEFAULT_TAGS, EventTags
from flag_pipeline.isolation.partitions_config import PartitionsConfig
from flag_pipeline.isolation.running import run_partitions
from flag_pipeline.isolation.step import Step
from flag_pipeline.isolation.summary import Reporting

CONTEXT_NAMES = {"context", "_context", "context_", "_"}
PARTITION_KEY = "partition_key"
FUNCTION_ATTRIBUTE = "per_partition_fn"

Function = Callable[..., Any]
Compute = Callable[..., Iterator[Any]]


@overload
def per_partition(function: Function, /) -> Compute: ...


@overload
def per_partition(
    *,
    max_concurrent: int = ...,
    timeout_s: float | None = ...,
    step_timeout_s: float | None = ...,
    retry_policy: dg.RetryPolicy | None = ...,
    event_tags: EventTags = ...,
) -> Callable[[Function], Compute]: ...


def per_partition(
    function: Function | None = None,
    /,
    *,
    max_concurrent: int = 16,
    timeout_s: float | None = None,
    step_timeout_s: float | None = None,
    retry_policy: dg.RetryPolicy | None = None,
    event_tags: EventTags = DEFAULT_TAGS,
) -> Compute | Callable[[Function], Compute]:
    """Call the function once per partition of a run; its error fails that partition alone.

    Put it under `@dg.asset` or `@dg.multi_asset`. Plain functions run on threads. The function takes `partition_key`
    and what any asset may take (context, config, resources, upstream values). It returns None, a value, a
    `dg.MaterializeResult`, a list of them (one per asset), `Absent`, `Unchanged` or `Failed`. Raises
    `dg.DagsterInvalidDefinitionError` if it has no `partition_key`, yields, or is plain with *timeout_s*.

    Args:
        max_concurrent: calls at once.
        timeout_s: of one call of an async function; the partition then fails with kind `timeout`.
        step_timeout_s: of all partitions together; unfinished ones fail with kind `timeout`.
        retry_policy: of one partition, inside the step.
        event_tags: names and words on the events.

    """
    limits = Limits(max_concurrent, timeout_s, step_timeout_s, retry_policy)

    def decorate(function: Function) -> Compute:
        _validate(function, limits)
        return _compute(function, limits, Reporting(event_tags))

    return decorate if function is None else decorate(function)


def partition_fn(asset: dg.AssetsDefinition) -> Function:
    """Return the original function of an isolated asset, for unit tests.

    Raises `dg.DagsterInvariantViolationError` if it is not isolated.
    """
    decorated = getattr(asset.op.compute_fn, "decorated_fn", None)
    function = getattr(decorated, FUNCTION_ATTRIBUTE, None)
    if function is None:
        raise dg.DagsterInvariantViolationError(f"{asset.op.name} is not isolated: it has no @per_partition.")
    return function  # type: ignore[no-any-return]


def _validate(function: Function, limits: Limits) -> None:
    name = getattr(function, "__name__", repr(function))
    if PARTITION_KEY not in inspect.signature(function).parameters:
        raise dg.DagsterInvalidDefinitionError(f"@per_partition: {name} needs a parameter `partition_key`.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise dg.DagsterInvalidDefinitionError(
            f"@per_partition: {name} yields. It is called for one partition: return the result, or a list of results."
        )
    if limits.timeout_s is not None and not inspect.iscoroutinefunction(function):
        raise dg.DagsterInvalidDefinitionError(
            f"@per_partition: {name} cannot have timeout_s, because a thread cannot be stopped. Make it async."
        )


def _compute(function: Function, limits: Limits, reporting: Reporting) -> Compute:
    parameters = list(inspect.signature(function).parameters.values())
    takes_context = parameters[0].name in CONTEXT_NAMES

    def compute(context: dg.AssetExecutionContext, **arguments: Any) -> Iterator[Any]:
        configs = (each for each in arguments.values() if isinstance(each, PartitionsConfig))
        listed = next((config.partition_keys for config in configs), None)
        positional = (context,) if takes_context else ()
        call = partial(_call, function, positional, upstream_arguments(Step(context), arguments))
        if inspect.iscoroutinefunction(function):
            call = partial(_call_async, function, positional, upstream_arguments(Step(context), arguments))
        yield from run_partitions(context, call, partition_keys=listed, limits=limits, reporting=reporting)

    for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(compute, attribute, getattr(function, attribute, None))
    setattr(compute, FUNCTION_ATTRIBUTE, function)
    _declare(compute, function, parameters[takes_context:])
    return compute


ArgumentsOf = Callable[[str], Mapping[str, Any]]


def _call(function: Function, positional: tuple[Any, ...], arguments_of: ArgumentsOf, key: str) -> Any:
    return function(*positional, partition_key=key, **arguments_of(key))


async def _call_async(function: Function, positional: tuple[Any, ...], arguments_of: ArgumentsOf, key: str) -> Any:
    return await function(*positional, partition_key=key, **arguments_of(key))


def _declare(compute: Compute, function: Function, parameters: list[inspect.Parameter]) -> None:
    """Give *compute* the signature that Dagster reads."""
    hints = get_type_hints(function, include_extras=True)
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=dg.AssetExecutionContext)
    rest = [
        # Dagster takes no keyword-only parameter for an upstream asset.
        parameter.replace(
            annotation=hints.get(parameter.name, parameter.annotation),
            kind=inspect.Parameter.POSITIONAL_OR_KEYWORD
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
            else parameter.kind,
        )
        for parameter in parameters
        if parameter.name != PARTITION_KEY
    ]
    rest.sort(key=lambda parameter: (parameter.kind, parameter.default is not inspect.Parameter.empty))
    signature = inspect.Signature([context, *rest], return_annotation=dg.MaterializeResult)
    annotated = {each.name: each.annotation for each in (context, *rest) if each.annotation is not each.empty}
    compute.__signature__ = signature  # type: ignore[attr-defined]
    compute.__annotations__ = {**annotated, "return": dg.MaterializeResult}
