"""The code of docs/isolation.md and of the package's docstring runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flag_pipeline import isolation
from flag_pipeline.settings import project_root

PAGE = (project_root() / "docs" / "isolation.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def run(command: list[str], folder: Path) -> str:
    """Run the command in the folder and return what it printed."""
    environment = {**os.environ, "DAGSTER_HOME": str(folder), "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_the_complete_example_does_what_the_page_says(tmp_path: Path) -> None:
    """It is printed which days succeeded, Dagster accepts the definitions, and the page's tests pass."""
    (tmp_path / "rates.py").write_text(PYTHON[0], encoding="utf-8")
    days = [f"2026-01-0{day}" for day in (1, 2, 5, 6, 7)]
    assert str(days) in run(["rates.py"], tmp_path)

    run(["-m", "dagster", "definitions", "validate", "-f", "rates.py"], tmp_path)

    tests = [code for code in PYTHON if "def test_" in code]
    assert len(tests) == 2
    header = "from rates import *\n\n"
    (tmp_path / "test_rates.py").write_text(header + "\n".join(tests), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n", encoding="utf-8")
    assert "2 passed" in run(["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_rates.py"], tmp_path)


@pytest.mark.parametrize("code", PYTHON)
def test_every_block_is_python(code: str) -> None:
    """None has a mistake that a reader would copy."""
    compile(code, "docs/isolation.md", "exec")


def test_the_page_names_everything_that_is_public() -> None:
    """Types that only come back from functions are described where those are."""
    returned = {"HealingPlan", "Outcome", "PartitionStatuses", "RecordedOutcome", "Summary", "plan_healing", "Missed"}

    assert [name for name in isolation.__all__ if name not in PAGE and name not in returned] == []
