"""Draws the gallery's bar charts as inline SVG; page.css has colours and fonts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from flag_pipeline.catalog.rows import CatalogRow
from flag_pipeline.images.colours import ColourFamily, colour_family, rgb_of

# Upper limits of width divided by height.
_RATIO_GROUPS = (
    (1.1, "square or tall"),
    (1.42, "about 4:3"),
    (1.55, "about 3:2"),
    (1.8, "about 5:3"),
    (float("inf"), "2:1 and wider"),
)
_SIZE_GROUPS = (
    (256, "up to 256 B"),
    (512, "up to 512 B"),
    (1024, "up to 1 KiB"),
    (4096, "up to 4 KiB"),
    (16_384, "up to 16 KiB"),
    (65_536, "up to 64 KiB"),
    (float("inf"), "more"),
)
SWATCHES = {
    ColourFamily.RED: "#d32f2f",
    ColourFamily.ORANGE: "#ef7d1a",
    ColourFamily.YELLOW: "#f5cb2e",
    ColourFamily.GREEN: "#2e8b47",
    ColourFamily.LIGHT_BLUE: "#6fb3e8",
    ColourFamily.BLUE: "#2450a8",
    ColourFamily.PURPLE: "#8e3aa0",
    ColourFamily.BROWN: "#7a4a1a",
    ColourFamily.BLACK: "#1a1a1a",
    ColourFamily.GREY: "#8f8f8f",
    ColourFamily.WHITE: "#ffffff",
}

_LINE_PX, _BAR_PX, _WIDTH_PX, _LABEL_PX, _COUNT_PX = 24, 16, 380, 110, 36


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: label, number of flags, and colour, empty for the default."""

    label: str
    count: int
    fill: str = ""


def ratio_group(aspect_decimal: float) -> str:
    """Return the label of the ratio's group."""
    return next(label for end, label in _RATIO_GROUPS if aspect_decimal <= end)


def colour_families(row: CatalogRow) -> list[ColourFamily]:
    """Return the families of the main colours, largest share first."""
    return list(dict.fromkeys(colour_family(rgb_of(colour.hex)) for colour in row.colours))


def ratio_bars(rows: Iterable[CatalogRow]) -> list[Bar]:
    """Return flags per group of ratios, without empty groups."""
    counts = Counter(ratio_group(row.aspect_decimal) for row in rows if row.aspect_decimal)
    return [Bar(label, counts[label]) for _, label in _RATIO_GROUPS if counts[label]]


def size_bars(rows: Iterable[CatalogRow]) -> list[Bar]:
    """Return flags per group of sizes, without empty groups."""
    sizes = [row.size_bytes for row in rows if row.size_bytes]
    counts = Counter(next(label for end, label in _SIZE_GROUPS if size <= end) for size in sizes)
    return [Bar(label, counts[label]) for _, label in _SIZE_GROUPS if counts[label]]


def colour_bars(rows: Iterable[CatalogRow]) -> list[Bar]:
    """Return the number of flags per colour."""
    counts = Counter(family for row in rows for family in colour_families(row))
    return [Bar(family, counts[family], SWATCHES[family]) for family in ColourFamily if counts[family]]


def render_bars(title: str, bars: Sequence[Bar]) -> str:
    """Return an SVG element; its text alternative has all numbers."""
    max_count = max((bar.count for bar in bars), default=1)
    summary = ", ".join(f"{bar.label} {bar.count}" for bar in bars) or "nothing to show"
    lines = "".join(_render_bar(number, bar, max_count) for number, bar in enumerate(bars))
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH_PX} {_LINE_PX * max(1, len(bars))}" role="img" '
        f'aria-label="{escape(f"{title}: {summary}")}">{lines}</svg>'
    )


def _render_bar(number: int, bar: Bar, max_count: int) -> str:
    top = number * _LINE_PX
    length = max(1, (_WIDTH_PX - _LABEL_PX - _COUNT_PX) * bar.count // max_count)
    fill = f' fill="{bar.fill}"' if bar.fill else ""
    return (
        f'<text x="{_LABEL_PX - 8}" y="{top + 16}" text-anchor="end">{escape(bar.label)}</text>'
        f'<rect x="{_LABEL_PX}" y="{top + 4}" width="{length}" height="{_BAR_PX}" rx="3"{fill}/>'
        f'<text x="{_LABEL_PX + length + 6}" y="{top + 16}">{bar.count}</text>'
    )
