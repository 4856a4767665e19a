"""Measure, print a table, and write it down: `uv run python -m benchmarks [--quick] [--only a,c]`."""

import argparse
import dataclasses
from pathlib import Path

from benchmarks.comparisons import FULL, QUICK, Result
from benchmarks.report import draw, line, markdown
from benchmarks.sections import SECTIONS

HERE = Path(__file__).parent
PLOT = "partitions.svg"


def main() -> None:
    """Run the sections that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what flag_pipeline costs.")
    parser.add_argument("--quick", action="store_true", help="Small numbers: shows that it works, proves nothing.")
    parser.add_argument("--only", default=",".join(SECTIONS), help="Sections, separated by commas.")
    parser.add_argument("--repeats", type=int, help="Repeats of each measurement.")
    parser.add_argument("--output", type=Path, help="Folder for RESULTS.md and the plot.")
    parser.add_argument("--peers", metavar="PYTHON", help="A Python with Scrapy and img2dataset: see peers.txt.")
    given = parser.parse_args()
    extent = QUICK if given.quick else FULL
    if given.repeats:
        extent = dataclasses.replace(extent, repeats=given.repeats)
    extent = dataclasses.replace(extent, peers=given.peers)
    results: dict[str, list[Result]] = {}
    for letter in given.only.split(","):
        title, section = SECTIONS[letter]
        print(f"\n{title}")
        lines = results[title] = []
        for measured in section(extent):
            result = dataclasses.replace(measured, target="") if given.quick else measured
            lines.append(result)
            print(line(result), flush=True)
    output = given.output or (None if given.quick else HERE)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        scaled = results.get(SECTIONS["d"][0], [])
        if scaled:
            draw(scaled, output / PLOT)
        (output / "RESULTS.md").write_text(markdown(results, plot=PLOT if scaled else ""), encoding="utf-8")


if __name__ == "__main__":
    main()
