"""Names of aspect ratios."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flag_pipeline.images.aspect import decimal_ratio, name_ratio

SIZES = st.integers(1, 10_000)


@pytest.mark.parametrize(
    ("size", "name"),
    [
        ((320, 213), "3:2"),
        ((300, 200), "3:2"),
        ((16, 11), "3:2"),
        ((400, 400), "1:1"),
        ((320, 240), "4:3"),
        ((320, 192), "5:3"),
        ((320, 160), "2:1"),
        ((320, 168), "19:10"),
        ((1120, 440), "28:11"),
        ((320, 259), "21:17"),
        ((400, 268), "about 3:2"),
        ((1280, 789), "about 8:5"),
        ((268, 400), "about 2:3"),
        ((1, 1), "1:1"),
    ],
)
def test_a_size_has_the_name_of_a_simple_ratio(size: tuple[int, int], name: str) -> None:
    """Sizes are rounded to whole pixels, so a ratio fits that is less than half a pixel away."""
    assert name_ratio(*size) == name


@given(SIZES, SIZES)
def test_any_size_has_a_name_that_is_near(width_px: int, height_px: int) -> None:
    """The named ratio is within half a pixel, or within 2.5 % where the name begins with "about"."""
    about, width, height = re.fullmatch(r"(about )?(\d+):(\d+)", name_ratio(width_px, height_px)).groups()  # type: ignore[union-attr]
    named = Fraction(int(width), int(height))

    if about:
        assert abs(named / Fraction(width_px, height_px) - 1) <= Fraction(1, 40)
    else:
        assert Fraction(2 * width_px - 1, 2 * height_px + 1) <= named <= Fraction(2 * width_px + 1, 2 * height_px - 1)
    assert decimal_ratio(width_px, height_px) == round(width_px / height_px, 4)
