"""Fixtures for tests of jobs, assets and commands."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from flag_pipeline.settings import project_root
from flag_pipeline_tests.shell import Shell


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A fresh instance in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder for the store, which does not exist yet."""
    return tmp_path / "store"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A home with the instance's settings as they are committed, and an empty store."""
    home, store = tmp_path / "home", tmp_path / "store"
    home.mkdir()
    (home / "dagster.yaml").write_bytes((project_root() / "dagster_home" / "dagster.yaml").read_bytes())
    settings = {"DAGSTER_HOME": home, "FLAG_STORE": store, "FLAG_RETRY_INITIAL_S": 0.001}
    for name, value in {**settings, "DAGSTER_EVENT_BATCH_SIZE": 1000}.items():
        monkeypatch.setenv(name, str(value))
    return Shell(store)
