"""Launches of every kind, each judged by the same checker."""

import os
import random
from itertools import combinations
from pathlib import Path

import pytest

from flag_pipeline_tests.matrix.axes import (
    AXES,
    EXCLUSIONS,
    Answers,
    Case,
    End,
    Home,
    Layout,
    Origin,
    Partitions,
    Stored,
    Way,
    all_pairs,
    is_possible,
    possible_pairs,
    random_cases,
)
from flag_pipeline_tests.matrix.trying import findings_of

pytestmark = pytest.mark.timeout(400)

N_RANDOM = 12
# What every change is tested with: each value of each axis that a launch in one process can have, a few of them
# together, and one launch through the webserver.
SAMPLE = [
    Case(
        Way.COMMAND,
        Origin.OPTIONS,
        Layout.BOOK,
        Answers.SURPLUS,
        Partitions.RANGE,
        Stored.DAMAGED,
        Home.OURS,
        End.SOME_FAIL,
    ),
    Case(
        Way.EXECUTE,
        Origin.ONE_FIELD,
        Layout.FLAGCDN,
        Answers.WRONG,
        Partitions.SCATTERED,
        Stored.FULL,
        Home.OURS,
        End.COMPLETE,
    ),
    Case(
        Way.DG,
        Origin.ENVIRONMENT,
        Layout.BOOK,
        Answers.ABSENT,
        Partitions.RANGE,
        Stored.EMPTIED,
        Home.DAGSTER,
        End.COMPLETE,
    ),
    Case(
        Way.COMMAND,
        Origin.ENVIRONMENT,
        Layout.BOOK,
        Answers.DATES,
        Partitions.SCATTERED,
        Stored.FULL,
        Home.FRESH,
        End.INTERRUPTED,
    ),
    Case(
        Way.EXECUTE,
        Origin.ENVIRONMENT,
        Layout.EMBEDDED,
        Answers.GOOD,
        Partitions.RANGE,
        Stored.OTHER,
        Home.OURS,
        End.COMPLETE,
    ),
    Case(
        Way.GRAPHQL,
        Origin.DOTENV,
        Layout.BOOK,
        Answers.FAILING,
        Partitions.RANGE,
        Stored.FULL,
        Home.OURS,
        End.COMPLETE,
    ),
]


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_sample(case: Case, tmp_path: Path) -> None:
    """Nothing is wrong after the launch."""
    findings = findings_of(case, tmp_path)

    assert not findings, "\n".join(findings)


@pytest.mark.matrix
@pytest.mark.parametrize("case", all_pairs(), ids=str)
def test_all_pairs(case: Case, tmp_path: Path) -> None:
    """Nothing is wrong after the launch, whichever two values come together in it."""
    findings = findings_of(case, tmp_path)

    assert not findings, "\n".join(findings)


@pytest.mark.matrix
@pytest.mark.parametrize("number", range(N_RANDOM))
def test_random_cases(number: int, tmp_path: Path) -> None:
    """Nothing is wrong after a launch that dice have chosen; `MATRIX_SEED` repeats the ones of a seed."""
    given = os.environ.get("MATRIX_SEED")
    seed = int(given) if given else random.SystemRandom().randrange(10**6)
    case = [case for case, _ in zip(random_cases(seed), range(number + 1), strict=False)][-1]
    print(f"MATRIX_SEED={seed}, number {number}: {case}")  # noqa: T201 - pytest shows it with a failure

    findings = findings_of(case, tmp_path)

    assert not findings, "\n".join(findings)


def test_every_pair_that_can_exist_is_in_a_case() -> None:
    """Two values of different axes that no case has together are excluded, directly or through a third."""
    cases = all_pairs()
    covered = {frozenset(pair) for case in cases for pair in combinations(case.values, 2)}

    assert all(is_possible(case) for case in cases)
    assert possible_pairs() - covered == set()


def test_every_exclusion_excludes_something_by_itself() -> None:
    """An exclusion that others make superfluous would say what is not so."""
    for exclusion in EXCLUSIONS:
        others = [other for other in EXCLUSIONS if other is not exclusion]
        pairs = [frozenset({one, other}) for one in exclusion.one for other in exclusion.other]
        assert any(not any(other.hits(pair) for other in others) for pair in pairs), exclusion.reason


def test_the_sample_is_possible_and_has_every_way_to_go_wrong() -> None:
    """The cases of each change are cases of the matrix, and have most values of each axis among them."""
    values = {value for case in SAMPLE for value in case.values}

    assert all(is_possible(case) for case in SAMPLE)
    assert {*Layout, *Origin, *Home} <= values
    assert len(AXES) == 8
