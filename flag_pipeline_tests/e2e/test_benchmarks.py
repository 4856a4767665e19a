"""The benchmarks, in the small: that they run, not what they show."""

import subprocess
import sys
from pathlib import Path

import pytest

from flag_pipeline.settings import project_root

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_quick_benchmarks_measure_every_section(tmp_path: Path) -> None:
    """`--quick` prints a table with every section and writes it to the given file."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(tmp_path)]

    done = subprocess.run(command, cwd=project_root(), check=True, capture_output=True, text=True)

    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert page.count("\n## ") == 8
    for measured in (
        "plain script",
        "single-run idiom",
        "an event, ours",
        "peak memory",
        "full fetch",
        "http.server",
        "hostile",
        "event log a partition",
    ):
        assert measured in done.stdout
        assert measured in page
    assert str(tmp_path) not in page
    assert "<svg" in (tmp_path / "partitions.svg").read_text(encoding="utf-8")
