"""The resources: typed configuration and life cycle, nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from flag_pipeline.core.connection import open_source
from flag_pipeline.core.sink import FileSink
from flag_pipeline.core.source import FlagSource
from flag_pipeline.core.structure import Limits
from flag_pipeline.settings import Settings, SourceSettings, StoreSettings, load_settings


class FlagSourceResource(dg.ConfigurableResource[Any], SourceSettings):
    """Where flags come from: one HTTP session for the whole run, and the embedded mirror if that is the source."""

    _client: FlagSource = PrivateAttr()

    @classmethod
    def from_settings(cls, settings: Settings) -> "FlagSourceResource":
        """The resource as *settings* configure it."""
        return cls(**settings.model_dump(include=set(SourceSettings.model_fields)))

    @property
    def client(self) -> FlagSource:
        """The source, while a run holds it open."""
        return self._client

    @asynccontextmanager
    async def yield_for_execution(  # type: ignore[override]  # Dagster takes asynchronous ones too
        self, context: dg.InitResourceContext
    ) -> AsyncIterator["FlagSourceResource"]:
        """Open the session on the run's own loop, and close it after the run."""
        async with open_source(self) as source:
            self._client = source
            yield self


class FileSinkResource(dg.ConfigurableResource[Any], StoreSettings):
    """Where files go: one store with its own threads for the whole run."""

    _sink: FileSink = PrivateAttr()

    @classmethod
    def from_settings(cls, settings: Settings) -> "FileSinkResource":
        """The resource as *settings* configure it."""
        return cls(**settings.model_dump(include=set(StoreSettings.model_fields)))

    @property
    def sink(self) -> FileSink:
        """The sink, while a run holds it open."""
        return self._sink

    @asynccontextmanager
    async def yield_for_execution(  # type: ignore[override]  # Dagster takes both kinds, its annotation knows one
        self,
        context: dg.InitResourceContext,
    ) -> AsyncIterator["FileSinkResource"]:
        """Prepare the store, and wait for its threads after the run."""
        async with FileSink(self.store, threads=self.sink_threads) as sink:
            self._sink = sink
            yield self


async def image_limits() -> Limits:
    """Return what a stored image may cost to decode: the environment's limits, because a catalog has no source."""
    settings = await asyncio.to_thread(load_settings)
    return settings.image_limits
