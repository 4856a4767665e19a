"""The results as a table, as Markdown and, where matplotlib is installed, as a plot."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.comparisons import Result

SHOWN = ("dagster", "aiohttp", "SQLAlchemy", "pillow", "pydantic")
HEADER = "| | median | min | max | n | unit | target | |\n|---|---:|---:|---:|---:|---|---|---|"


def line(result: Result) -> str:
    """One result for a terminal."""
    spread = result.spread
    around = f" ({spread.least:.3g} to {spread.most:.3g}, n={spread.repeats})" if spread else ""
    return (
        f"{result.name:<58} {result.value:>9.3g} {result.unit:<5}{around} {result.target} {_verdict(result)}".rstrip()
    )


def _verdict(result: Result) -> str:
    return "" if not result.target or "inf" in result.target else "ok" if result.is_met else "MISSED"


def markdown(results: Mapping[str, Sequence[Result]], *, plot: str) -> str:
    """All sections as a page."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in SHOWN)
    method = (
        f"`uv run python -m benchmarks`, {datetime.now(UTC):%Y-%m-%d}. Times are wall-clock medians. Each line is of "
        "processes of their own, on an instance that exists and has no runs yet, with an empty store; alternatives "
        "take turns, so compare lines of one section, not of two."
    )
    parts = [
        "# Benchmark results",
        method,
        f"{_machine()}. Python {platform.python_version()}, {versions}.",
        *(
            f"## {title}\n\n{HEADER}\n" + "\n".join(_row(result) for result in lines)
            for title, lines in results.items()
        ),
    ]
    return "\n\n".join([*parts, f"![partitions against seconds and memory]({plot})"] if plot else parts) + "\n"


def _row(result: Result) -> str:
    spread = result.spread
    cells = [f"{spread.least:.3g}", f"{spread.most:.3g}", str(spread.repeats)] if spread else ["", "", ""]
    target = "" if "inf" in result.target else result.target
    return (
        f"| {result.name} | {result.value:.3g} | {' | '.join(cells)} | {result.unit} | {target} | {_verdict(result)} |"
    )


def _machine() -> str:
    load = os.getloadavg()[0]
    return f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the end"


def draw(results: Sequence[Result], target: Path) -> bool:
    """Draw partitions against seconds and memory; False where matplotlib is not installed."""
    try:
        import matplotlib as mpl  # a dependency group of its own: `--quick` does without
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for axes, what, unit in ((left, "whole command", "s"), (right, "peak memory", "MB")):
        found = ((re.match(rf"(\d+) partitions, {what}", result.name), result) for result in results)
        points = [(int(match[1]), result.value, result.spread) for match, result in found if match and result.spread]
        sizes, medians, spreads = zip(*points, strict=True)
        errors = [
            [m - s.least for m, s in zip(medians, spreads, strict=True)],
            [s.most - m for m, s in zip(medians, spreads, strict=True)],
        ]
        axes.errorbar(sizes, medians, yerr=errors, marker="o", capsize=3)
        axes.set(xlabel="partitions", ylabel=f"{what} ({unit})", ylim=(0, None))
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(target)
    return True
