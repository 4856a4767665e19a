"""What a command imports before it is known to be needed."""

import subprocess
import sys

import pytest

SLOW = ("dagster", "sqlalchemy", "aiohttp", "PIL", "rich")


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(["--help"], 0), (["run", "--help"], 0), (["run", "nowhere"], 2), (["run", "-m", "0"], 2)],
)
def test_help_and_usage_errors_do_not_wait_for_dagster(arguments: list[str], exit_code: int) -> None:
    """What the arguments alone decide is answered without importing anything that takes long."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flag_pipeline", *arguments],
        check=False,
        capture_output=True,
        text=True,
    )

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == exit_code
    assert "typer" in imported
    assert imported.isdisjoint(SLOW)
