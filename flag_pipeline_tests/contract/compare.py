"""Compares two JUnit reports of the same tests: `compare.py OURS DAGSTERS` fails where ours does worse."""

import sys
import xml.etree.ElementTree as ET


def passed(report: str) -> set[str]:
    """Return the tests of the report that passed."""
    cases = ET.parse(report).iter("testcase")  # noqa: S314 - pytest wrote it a moment ago
    return {
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if not {child.tag for child in case} & {"failure", "error", "skipped"}
    }


def main() -> int:
    """Print the counts and the tests that only Dagster's classes pass, and return how many these are."""
    ours, dagsters = (passed(report) for report in sys.argv[1:])
    print(f"ours passes {len(ours)} tests, Dagster's classes pass {len(dagsters)}")
    worse = sorted(dagsters - ours)
    print(*(f"only Dagster's class passes {name}" for name in worse), sep="\n", end="\n" if worse else "")
    return len(worse) if dagsters else 1


if __name__ == "__main__":
    sys.exit(main())
