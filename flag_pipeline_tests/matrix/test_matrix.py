"""Launches of every kind, each judged by the same checker."""

import os
import random
from itertools import combinations, islice
from pathlib import Path

import pytest

from flag_pipeline_tests.matrix.axes import AXES, EXCLUSIONS, Case, all_pairs, is_possible, random_cases
from flag_pipeline_tests.matrix.trying import findings_of

pytestmark = pytest.mark.timeout(400)

SEED = int(os.environ.get("MATRIX_SEED", random.SystemRandom().randrange(10**6)))


@pytest.mark.matrix
@pytest.mark.parametrize("case", all_pairs(), ids=str)
def test_all_pairs(case: Case, tmp_path: Path) -> None:
    """Nothing is wrong after the launch, whichever two values come together in it."""
    findings = findings_of(case, tmp_path)

    assert not findings, "\n".join(findings)
