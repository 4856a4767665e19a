"""The resources, and what run configuration may set."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from copy import copy
from typing import Any, ClassVar, Self

import dagster as dg
from pydantic import BaseModel, PrivateAttr, create_model

from flag_pipeline.core.config import SourceSettings
from flag_pipeline.core.flag_source import FlagSource, open_source
from flag_pipeline.core.presets import PRESETS, find_preset
from flag_pipeline.core.sink import FileSink
from flag_pipeline.errors import ConfigurationError, FlagPipelineError
from flag_pipeline.images.structure import Limits
from flag_pipeline.settings import Settings, StoreSettings, load_settings
from flag_pipeline.stores.open_store import is_within

SOURCE_KEY, SINK_KEY = "flag_source", "file_sink"


class BoundToSettings(BaseModel):
    """A resource whose class has the settings as its defaults.

    If a launch configures one field, Dagster gives the others the class's defaults, not the instance's values.

    Attributes:
        settings: None if run configuration may set anything.
    """

    settings: ClassVar[Settings | None] = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the resource configured by *settings*."""
        fields: dict[str, Any] = {
            name: (field.annotation, _with_default(field, getattr(settings, name)))
            for name, field in cls.model_fields.items()
        }
        bound = create_model(cls.__name__, __base__=cls, __module__=cls.__module__, __doc__=cls.__doc__, **fields)
        bound.settings = settings
        return bound()


def _with_default(field: Any, value: object) -> Any:
    bound = copy(field)
    bound.default, bound.default_factory = value, None
    return bound


class FlagSourceResource(dg.ConfigurableResource[Any], SourceSettings, BoundToSettings):
    """Where flags come from: one HTTP session for the whole run, and the embedded mirror if that is the source."""

    _client: FlagSource = PrivateAttr()

    @property
    def client(self) -> FlagSource:
        """The source, open during a run."""
        return self._client

    @asynccontextmanager
    async def yield_for_execution(  # type: ignore[override]  # Dagster takes asynchronous ones too
        self, context: dg.InitResourceContext
    ) -> AsyncIterator["FlagSourceResource"]:
        """Open the session on the run's loop during the run.

        Raises ConfigurationError for a forbidden source.
        """
        with trace_ends_here():
            check_places(context, self.settings, source=self.source)
            async with open_source(self) as source:
                self._client = source
                yield self


class FileSinkResource(dg.ConfigurableResource[Any], StoreSettings, BoundToSettings):
    """Where files go: one store with its own threads for the whole run."""

    _sink: FileSink = PrivateAttr()

    @property
    def sink(self) -> FileSink:
        """The sink, open during a run."""
        return self._sink

    @asynccontextmanager
    async def yield_for_execution(  # type: ignore[override]  # Dagster takes both kinds, its annotation knows one
        self,
        context: dg.InitResourceContext,
    ) -> AsyncIterator["FileSinkResource"]:
        """Prepare the store, and wait for its threads after the run.

        Raises ConfigurationError for a forbidden store.
        """
        with trace_ends_here():
            await asyncio.to_thread(check_places, context, self.settings, store=self.store)
            async with FileSink(self.store, threads=self.sink_threads) as sink:
                self._sink = sink
                yield self


@contextmanager
def trace_ends_here() -> Iterator[None]:
    """Drop the cause of this package's errors, so that a failed run's trace ends at their message."""
    try:
        yield
    except FlagPipelineError as exc:
        raise exc from None


async def image_limits() -> Limits:
    """Return the environment's image limits, because a catalog has no source."""
    settings = await asyncio.to_thread(load_settings)
    return settings.image_limits


def check_places(context: dg.InitResourceContext, settings: Settings | None, **opened: str) -> None:
    """Raise ConfigurationError if the run's source or store is not allowed. Blocks.

    *opened* is what the resource will open. Both check the source, because Dagster opens the store first, and a refused
    run should not make folders.
    """
    if settings is None:
        return
    named = {"source": _configured(context, SOURCE_KEY, "source"), "store": _configured(context, SINK_KEY, "store")}
    used = {"source": named["source"], **opened}
    if (source := used["source"]) is not None and not _allows_source(settings, source):
        raise _refusal("source", source, {**named, **opened}, settings)
    if (store := used.get("store")) is not None and not _allows_store(settings, store):
        raise _refusal("store", store, {**named, **opened}, settings)


def _allows_source(settings: Settings, source: str) -> bool:
    return find_preset(source) in {*PRESETS.values(), *map(find_preset, [settings.source, *settings.allowed_sources])}


def _allows_store(settings: Settings, store: str) -> bool:
    is_own = is_within(store, settings.store) and is_within(settings.store, store)
    return is_own or any(is_within(store, allowed) for allowed in settings.allowed_stores)


def _refusal(name: str, value: str, named: Mapping[str, str | None], settings: Settings) -> ConfigurationError:
    options = [
        f"--{option} {shlex.quote(wanted)}"
        for option, wanted in named.items()
        if wanted is not None and wanted != getattr(settings, option)
    ]
    return ConfigurationError(
        f"the configuration of this run names the {name} {value}, which is not allowed here: add it to "
        f"FLAG_ALLOWED_{name.upper()}S and reload, or use the command line: flag-pipeline retry {' '.join(options)}"
    )


def _configured(context: dg.InitResourceContext, key: str, field: str) -> str | None:
    """Return a field of the run configuration, None if not literal."""
    found: Any = context.run.run_config if context.run else {}
    for step in ("resources", key, "config", field):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else None
