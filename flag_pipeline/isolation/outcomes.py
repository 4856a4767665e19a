"""Results of partitions' functions, and their outcomes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import dagster as dg

from flag_pipeline.isolation.dagster_private import NoValueSentinel

# NUL ends a text in Postgres, and no database encodes half a surrogate pair.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
RESULT_CLASSES = (dg.MaterializeResult, dg.Output)
Result = dg.MaterializeResult[Any]


class Outcome(StrEnum):
    """How one partition ended.

    A failed re-execution records `CARRIED_OVER` for the earlier run's deliveries.
    """

    SUCCEEDED = "succeeded"
    UNCHANGED = "unchanged"
    ABSENT = "absent"
    FAILED = "failed"
    CARRIED_OVER = "carried_over"


@dataclass(frozen=True, slots=True)
class Absent:
    """Return this if there is nothing to materialize, and that is no error.

    Attributes:
        kind: a short word for reports; letters, digits, `_`, `-`, `.`; at most 63 characters.
        metadata, tags: of the observation that records the outcome.
    """

    reason: str
    kind: str = "absent"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """Return this instead of raising, to choose a failure's kind and whether to retry.

    Attributes:
        kind, metadata, tags: as in `Absent`.
        is_transient: whether retry policies and the healing sensor try again.
    """

    reason: str
    kind: str = "failed"
    is_transient: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Return this if nothing has changed; it is recorded as a materialization.

    Attributes:
        results: with the earlier data versions, which downstream assets compare.
    """

    results: Result | Sequence[Result]


@dataclass(frozen=True, slots=True)
class Delivered:
    """A partition to record as materialized, with one result per selected asset."""

    key: str
    results: Mapping[dg.AssetKey, Result]
    is_unchanged: bool
    attempts: int

    @property
    def outcome(self) -> Outcome:
        """How the partition ended."""
        return Outcome.UNCHANGED if self.is_unchanged else Outcome.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Missed:
    """A partition to record as absent or failed; *traceback* is of an exception other than `dg.Failure`."""

    key: str
    outcome: Outcome
    reason: str
    kind: str
    is_transient: bool
    attempts: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    traceback: str = ""

    @classmethod
    def of(cls, key: str, returned: Absent | Failed, *, attempts: int = 0) -> "Missed":
        """Return the outcome that the function or a hook *returned*."""
        outcome, is_transient = Outcome.ABSENT, False
        if isinstance(returned, Failed):
            outcome, is_transient = Outcome.FAILED, returned.is_transient
        return cls(
            key, outcome, returned.reason, returned.kind, is_transient, attempts, returned.metadata, returned.tags
        )


Ended = Delivered | Missed


@dataclass(frozen=True, slots=True)
class Assets:
    """The assets of a step.

    Attributes:
        selected: in order, upstream first.
        others: those whose results are ignored.
    """

    selected: tuple[dg.AssetKey, ...]
    others: frozenset[dg.AssetKey] = frozenset()


def ended(key: str, returned: Any, assets: Assets, *, attempts: int) -> Ended:
    """Return the outcome of what the function *returned*.

    Raises `dg.DagsterInvariantViolationError` if results do not fit the assets.
    """
    match returned:
        case Absent() | Failed():
            return Missed.of(key, returned, attempts=attempts)
        case Unchanged():
            return Delivered(key, by_asset(returned.results, assets), is_unchanged=True, attempts=attempts)
        case _:
            return Delivered(key, by_asset(returned, assets), is_unchanged=False, attempts=attempts)


def by_asset(returned: Any, assets: Assets) -> dict[dg.AssetKey, Result]:
    """Return one result per selected asset."""
    results = dict[dg.AssetKey, Result]()
    for result in _results(returned):
        results |= dict.fromkeys(_asset_keys_of(result, assets), result)
    if missing := [key.to_user_string() for key in assets.selected if key not in results]:
        raise dg.DagsterInvariantViolationError(
            f"The function returned no result for {', '.join(missing)}. Return a list with one dg.MaterializeResult for"
            " each selected asset: see `context.selected_asset_keys`."
        )
    return {key: results[key] for key in assets.selected}


def _results(returned: Any) -> Iterable[Result]:
    is_many = isinstance(returned, (list, tuple)) and returned and all(isinstance(r, RESULT_CLASSES) for r in returned)
    return [_result(each) for each in (returned if is_many else [returned])]


def _result(returned: Any) -> Result:
    if isinstance(returned, dg.MaterializeResult):
        return returned
    if isinstance(returned, dg.Output):
        return dg.MaterializeResult(
            value=returned.value, metadata=returned.metadata, data_version=returned.data_version, tags=returned.tags
        )
    if isinstance(returned, (dg.ObserveResult, dg.AssetMaterialization, dg.AssetObservation)):
        raise dg.DagsterInvariantViolationError(
            f"The function returned a {type(returned).__name__}. Return a value, a dg.MaterializeResult, a list of"
            " them, Absent, Unchanged or Failed."
        )
    return dg.MaterializeResult() if returned is None else dg.MaterializeResult(value=returned)


def _asset_keys_of(result: Result, assets: Assets) -> Iterable[dg.AssetKey]:
    if result.asset_key is None:
        if len(assets.selected) + len(assets.others) > 1 and (has_value(result) or result.data_version):
            raise dg.DagsterInvariantViolationError(
                "The function returned a value or a data version of no asset in particular, and it has several assets."
                " Return a list with one dg.MaterializeResult(asset_key=...) for each."
            )
        return assets.selected
    if result.asset_key not in {*assets.selected, *assets.others}:
        raise dg.DagsterInvariantViolationError(
            f"The function returned a result for {result.asset_key.to_user_string()}, which is none of its assets."
        )
    return [result.asset_key]


def validated(outcome: Ended) -> Ended:
    """Return the outcome without values, its metadata as Dagster stores it; raises Dagster's errors."""
    if isinstance(outcome, Missed):
        dg.AssetObservation("asset", metadata=outcome.metadata, tags={"kind": outcome.kind, **outcome.tags})
        return outcome
    results = {asset_key: _validated(asset_key, result) for asset_key, result in outcome.results.items()}
    return replace(outcome, results=results)


def _validated(asset_key: dg.AssetKey, result: Result) -> Result:
    event = dg.AssetMaterialization(asset_key, metadata=result.metadata, tags=result.tags)
    version = result.data_version.value if result.data_version else ""
    if UNSTORABLE.search(version):
        raise dg.DagsterInvariantViolationError(f"No event log can store the data version {version!r}.")
    return dg.MaterializeResult(
        asset_key=asset_key,
        metadata=event.metadata,
        check_results=result.check_results,
        data_version=result.data_version,
        tags=result.tags,
    )


def has_value(result: Result) -> bool:
    """Whether the result has a value for an I/O manager."""
    return result.value is not NoValueSentinel
