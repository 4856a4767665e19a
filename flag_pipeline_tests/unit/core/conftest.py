"""Fixtures for the tests of core."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flag_pipeline.core.sink import FileSink


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[FileSink]:
    """A sink on an empty folder."""
    async with FileSink(str(tmp_path)) as sink:
        yield sink
