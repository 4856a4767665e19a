"""Fixtures for all tests."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from blockbuster import blockbuster_ctx

from flag_pipeline.settings import project_root
from flag_pipeline_tests.flag_server import FlagServer, running_flag_server
from flag_pipeline_tests.seaweed import SeaweedFS, running_seaweed

# How long an example takes depends on who else uses the machine.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's settings out of the tests."""
    for name in list(os.environ):
        if name.startswith(("FLAG_", "DAGSTER_", "AWS_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail an asynchronous test in which our own code blocks the event loop; Dagster's steps are run by others."""
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    with blockbuster_ctx("flag_pipeline", excluded_modules=["flag_pipeline_tests"]):
        yield


@pytest.fixture
def flag_server() -> Iterator[FlagServer]:
    """A real server of the packaged flags on loopback, ready to be scripted."""
    with running_flag_server() as server:
        yield server


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A real S3 server on loopback, where the dependency group `distributed` is installed."""
    with running_seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where tests leave pictures for people to look at."""
    folder = project_root() / "test-artifacts"
    folder.mkdir(exist_ok=True)
    return folder
