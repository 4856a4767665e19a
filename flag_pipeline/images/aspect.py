"""The aspect ratio of a flag: width to height, in small whole numbers."""

from fractions import Fraction
from functools import lru_cache

# The longest ratio of a national flag is Qatar's, 28:11.
_MAX_TERM = 30
# For a size that no such ratio fits.
_TOLERANCE = Fraction(1, 40)
_HALF_PX = Fraction(1, 2)


@lru_cache(256)
def name_ratio(width_px: int, height_px: int) -> str:
    """Return the simplest ratio that rounds to this size (`3:2` for 320 x 213), or a near one (`about 3:2`)."""
    exact = _simplest_between(
        (width_px - _HALF_PX) / (height_px + _HALF_PX), (width_px + _HALF_PX) / (height_px - _HALF_PX)
    )
    if max(exact.numerator, exact.denominator) <= _MAX_TERM:
        return f"{exact.numerator}:{exact.denominator}"
    ratio = Fraction(width_px, height_px)
    near = _simplest_between(ratio * (1 - _TOLERANCE), ratio * (1 + _TOLERANCE))
    return f"about {near.numerator}:{near.denominator}"


def decimal_ratio(width_px: int, height_px: int) -> float:
    """Return width divided by height, four decimals."""
    return round(width_px / height_px, 4)


def _simplest_between(low: Fraction, high: Fraction) -> Fraction:
    # The fraction with smallest terms, by continued fractions.
    whole = low.numerator // low.denominator
    if whole == low:
        return low
    if whole + 1 <= high:
        return Fraction(whole + 1)
    return whole + 1 / _simplest_between(1 / (high - whole), 1 / (low - whole))
