"""What a function's result means for the assets of its step."""

from typing import Any

import dagster as dg
import pytest

from flag_pipeline.isolation.outcomes import (
    Absent,
    Assets,
    Delivered,
    Failed,
    Missed,
    Outcome,
    Unchanged,
    ended,
    has_value,
)

FIRST, SECOND, OTHER = dg.AssetKey("first"), dg.AssetKey("second"), dg.AssetKey("other")
ONE = Assets((FIRST,))
TWO = Assets((FIRST, SECOND), frozenset({OTHER}))


def delivered(returned: Any, assets: Assets = ONE) -> Delivered:
    """The outcome, which must be a delivery."""
    outcome = ended("k", returned, assets, attempts=1)
    assert isinstance(outcome, Delivered)
    return outcome


def test_none_is_a_success_of_every_asset() -> None:
    """The results have no value, metadata or version."""
    outcome = delivered(None, TWO)

    assert outcome.outcome is Outcome.SUCCEEDED
    assert list(outcome.results) == [FIRST, SECOND]
    assert not any(has_value(result) for result in outcome.results.values())


@pytest.mark.parametrize("value", [0, "", [], [1, 2], (3,), {"a": 1}, False])
def test_any_other_value_is_for_the_io_manager(value: Any) -> None:
    """A list and an empty value are values, too, unless a list has results."""
    assert delivered(value).results[FIRST].value == value


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")  # of an Output's data version
def test_an_output_is_taken_for_a_result() -> None:
    """The result has the output's value, metadata and version."""
    result = delivered(dg.Output(1, metadata={"m": 2}, data_version=dg.DataVersion("3"))).results[FIRST]

    assert (result.value, result.data_version) == (1, dg.DataVersion("3"))
    assert result.metadata is not None
    assert set(result.metadata) == {"m"}


def test_results_of_selected_assets_are_put_in_order() -> None:
    """Upstream assets come first; an asset that the run does not want is left out."""
    results: list[dg.MaterializeResult[Any]] = [dg.MaterializeResult(asset_key=key) for key in (OTHER, SECOND, FIRST)]

    assert list(delivered(results, TWO).results) == [FIRST, SECOND]


def test_unchanged_is_a_delivery() -> None:
    """The delivery has the results of `Unchanged`."""
    outcome = delivered(Unchanged(dg.MaterializeResult(metadata={"m": 1})))

    assert outcome.outcome is Outcome.UNCHANGED
    assert outcome.results[FIRST].metadata == {"m": 1}


@pytest.mark.parametrize(
    ("returned", "outcome", "is_transient"),
    [
        (Absent("none", kind="gone", metadata={"m": 1}, tags={"t": "2"}), Outcome.ABSENT, False),
        (Failed("down", kind="gone", metadata={"m": 1}, tags={"t": "2"}), Outcome.FAILED, True),
        (Failed("down", kind="gone", is_transient=False, metadata={"m": 1}, tags={"t": "2"}), Outcome.FAILED, False),
    ],
)
def test_failures_and_absences_keep_their_reason(
    returned: Absent | Failed, outcome: Outcome, *, is_transient: bool
) -> None:
    """The outcome has the reason, kind, metadata and tags of what was returned."""
    missed = ended("k", returned, ONE, attempts=3)

    assert missed == Missed("k", outcome, returned.reason, "gone", is_transient, 3, {"m": 1}, {"t": "2"})


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([dg.MaterializeResult(asset_key=FIRST)], "no result for second"),
        ([dg.MaterializeResult(asset_key="stranger")], "stranger, which is none of its assets"),
        (dg.MaterializeResult(value=1), "of no asset in particular"),
        (7, "of no asset in particular"),
        (dg.MaterializeResult(data_version=dg.DataVersion("1")), "of no asset in particular"),
        (dg.AssetMaterialization("first"), "returned a AssetMaterialization"),
        (dg.ObserveResult(asset_key=FIRST), "returned a ObserveResult"),
    ],
)
def test_what_does_not_fit_the_assets_is_refused(returned: Any, message: str) -> None:
    """The error says what to return instead."""
    with pytest.raises(dg.DagsterInvariantViolationError, match=message):
        ended("k", returned, TWO, attempts=1)
