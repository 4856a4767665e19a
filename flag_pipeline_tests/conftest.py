"""Fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flag_pipeline.settings import project_root
from flag_pipeline_tests.flag_server import FlagServer, running_flag_server


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    import os

    for name in list(os.environ):
        if name.startswith(("FLAG_", "DAGSTER_")):
            monkeypatch.delenv(name)


@pytest.fixture
def flag_server() -> Iterator[FlagServer]:
    """A real server of the packaged flags on loopback, ready to be scripted."""
    with running_flag_server() as server:
        yield server


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where tests leave pictures for people to look at."""
    folder = project_root() / "test-artifacts"
    folder.mkdir(exist_ok=True)
    return folder
