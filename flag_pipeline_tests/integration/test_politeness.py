"""Requests per second."""

import time

import pytest

from flag_pipeline.core.flag_source import FlagSource, open_source_session
from flag_pipeline.core.presets import find_preset
from flag_pipeline.fetching.client import FetchCounter
from flag_pipeline.fetching.models import Validators
from flag_pipeline.settings import Settings, load_settings
from flag_pipeline_tests.flag_server import FlagServer


@pytest.fixture
def settings(flag_server: FlagServer) -> Settings:
    """Return settings that allow 20 requests per second."""
    return load_settings(source=flag_server.url, requests_per_second=20)


async def test_requests_per_second_are_spaced(flag_server: FlagServer, settings: Settings) -> None:
    """At 20 requests per second, five requests take at least a fifth of a second."""
    preset = find_preset(flag_server.url)
    started_at = time.monotonic()

    async with open_source_session(flag_server.url, settings) as session:
        source = FlagSource(session, preset, settings)
        for code in ("CN", "FR", "IN", "US", "BR"):
            await source.fetch(preset.flag_url(code), code=code, known=Validators(), counter=FetchCounter())

    assert time.monotonic() - started_at >= 4 / 20
    assert len(flag_server.requests) == 5
