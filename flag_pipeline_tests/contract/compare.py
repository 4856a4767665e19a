"""Compares JUnit reports of the same tests: `compare.py OURS... DAGSTERS` fails where one of ours does worse."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def passed(report: str) -> set[str]:
    """Return the tests of the report that passed."""
    cases = ET.parse(report).iter("testcase")  # noqa: S314 - pytest wrote it a moment ago
    return {
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if not {child.tag for child in case} & {"failure", "error", "skipped"}
    }


def main() -> int:
    """Print the counts and the tests that only Dagster's classes pass, and return the exit code."""
    *ours, dagsters = sys.argv[1:]
    expected = passed(dagsters)
    print(f"Dagster's classes pass {len(expected)} tests")
    n_worse = 0
    for report in ours:
        worse = expected - passed(report)
        print(f"{Path(report).stem}: {len(expected) - len(worse)} of them")
        print(*(f"  only Dagster's class passes {name}\n" for name in sorted(worse)), sep="", end="")
        n_worse += len(worse)
    return 1 if n_worse or not expected else 0


if __name__ == "__main__":
    sys.exit(main())
