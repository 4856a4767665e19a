"""The results as a table, as Markdown and as a plot."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pygal

from benchmarks.comparisons import Result

SHOWN = ("dagster", "aiohttp", "SQLAlchemy", "pillow", "pydantic")
# Replaces pygal's style sheet and script, which have another licence.
CSS = """
text { font: 11px sans-serif; fill: #1d1d1f } .title { font-size: 14px; text-anchor: middle }
.background, .plot_background { fill: #fff } .axis path { stroke: #c9c9c7 } .axis path, path.line { fill: none }
.axis.x text { text-anchor: middle } .axis.y text { text-anchor: end } .axis.y2 text { text-anchor: start }
.color-0, .color-1 { stroke: #b3261e; fill: #b3261e } .color-2, .color-3 { stroke: #1f6f8b; fill: #1f6f8b }
"""
HEADER = "| | median | min | max | n | unit | target | |\n|---|---:|---:|---:|---:|---|---|---|"


def line(result: Result) -> str:
    """One result for a terminal."""
    spread = result.spread
    around = f" ({spread.least:.3g} to {spread.most:.3g}, n={spread.repeats})" if spread else ""
    return (
        f"{result.name:<58} {result.value:>9.3g} {result.unit:<5}{around} {result.target} {_verdict(result)}".rstrip()
    )


def _verdict(result: Result) -> str:
    return "" if not result.target else "ok" if result.is_met else "MISSED"


def markdown(results: Mapping[str, Sequence[Result]], *, plot: str) -> str:
    """All sections as a page."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in SHOWN)
    method = (
        f"`uv run python -m benchmarks`, {datetime.now(UTC):%Y-%m-%d}. Times are wall-clock medians. Each line "
        "measures new processes, on an existing instance without runs, with an empty store. Alternatives take "
        "turns, so compare lines within a section only. Our whole command is `flag-pipeline run --json`, which "
        "makes a catalog too, so its target compares it with the script that also makes one. Seconds also depend "
        "on how the interpreter was built: our whole command took a quarter longer on one built without "
        "optimisations, which is pyenv's default."
    )
    parts = [
        "# Benchmark results",
        method,
        f"{_machine()}. {_python()}, {versions}.",
        *(
            f"## {title}\n\n{HEADER}\n" + "\n".join(_row(result) for result in lines)
            for title, lines in results.items()
        ),
    ]
    return "\n\n".join([*parts, f"![partitions against seconds and memory]({plot})"] if plot else parts) + "\n"


def _python() -> str:
    return f"Python {platform.python_version()} of {platform.python_build()[1]}, {platform.python_compiler()}"


def _row(result: Result) -> str:
    spread = result.spread
    cells = [f"{spread.least:.3g}", f"{spread.most:.3g}", str(spread.repeats)] if spread else ["", "", ""]
    measured = [result.name, f"{result.value:.3g}", *cells, result.unit, result.target, _verdict(result)]
    return f"| {' | '.join(measured)} |"


def _machine() -> str:
    load = os.getloadavg()[0]
    return f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the end"


def draw(results: Sequence[Result], target: Path) -> None:
    """Draw partitions against seconds, on the left axis, and memory, on the right one, as an SVG."""
    chart = pygal.XY(
        width=800,
        height=400,
        title="Medians, with the least and the most",
        x_title="partitions",
        include_x_axis=True,
        legend_at_bottom=True,
        js=(),
        pretty_print=True,
        value_formatter="{:.0f}".format,
    )
    chart.uuid = target.stem  # else a random one
    for what, unit, is_right in (("whole command", "s", False), ("peak memory", "MB", True)):
        found = ((re.match(rf"(\d+) partitions, {what}", result.name), result.spread) for result in results)
        points = [(int(match[1]), spread) for match, spread in found if match and spread]
        medians = [(size, spread.median) for size, spread in points]
        ends = [(size, end) for size, spread in points for end in (spread.least, spread.most)]
        chart.add(f"{what} ({unit})", medians, secondary=is_right)
        chart.add(f"{what}, least and most", ends, secondary=is_right, stroke=False)
    drawn = re.sub(r"<(style|script)\b.*?</\1>", "", chart.render(is_unicode=True), flags=re.DOTALL)
    target.write_text(drawn.replace("<defs>", f"<defs><style>{CSS}</style>", 1), encoding="utf-8")
