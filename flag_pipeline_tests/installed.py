"""What the dependency group `distributed` brings, and what a test says where it is not installed."""

import shutil
import sys
from pathlib import Path

import pytest


def installed_program(name: str) -> str:
    """Return the path of a program of this Python environment; skips the test where it is not installed."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed: uv run --group distributed pytest -m distributed")
    return found
