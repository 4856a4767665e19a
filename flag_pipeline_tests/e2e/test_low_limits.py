"""The command line in a process that may open few files."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flag_pipeline.errors import ErrorKind

pytestmark = pytest.mark.timeout(240)


def run_limited(folder: Path, limit: int, *arguments: str) -> tuple[Any, str]:
    """Run a command that may open so many files; return what it reports and what it says on stderr."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FLAG_", "DAGSTER_"))}
    done = subprocess.run(
        ["/bin/sh", "-c", f'ulimit -n {limit} && exec "$0" "$@"', Path(sys.executable).with_name("flag-pipeline"),
         *arguments, "--json"],
        env={**environment, "DAGSTER_HOME": str(folder / "home"), "FLAG_STORE": str(folder / "store")},
        text=True,
        capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("limit", [40, pytest.param(64, marks=pytest.mark.matrix)])
def test_few_open_files_cost_no_country(tmp_path: Path, limit: int) -> None:
    """A low limit of open files means fewer requests at once, which a line says, and `retry` fetches what failed."""
    report, errors = run_limited(tmp_path, limit, "run")

    assert report["saved"] >= 200
    assert all(ErrorKind(failure["kind"]).is_transient for failure in report["failed"].values())
    assert f"this process may open {limit} files only" in errors
    assert "Traceback" not in errors
    if report["failed"]:
        report, _ = run_limited(tmp_path, 20_000, "retry")
    assert report["failed"] == {}
    assert len(list((tmp_path / "store/flags").glob("*.gif"))) == 249
