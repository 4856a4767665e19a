"""The resources: typed configuration, life cycle, and what run configuration may set them to."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import copy
from typing import Any, ClassVar, Self

import dagster as dg
from pydantic import BaseModel, PrivateAttr, create_model

from flag_pipeline.core.config import SourceSettings
from flag_pipeline.core.flag_source import FlagSource, open_source
from flag_pipeline.core.presets import PRESETS, find_preset
from flag_pipeline.core.sink import FileSink
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.images.structure import Limits
from flag_pipeline.settings import Settings, StoreSettings, load_settings
from flag_pipeline.stores.open_store import is_within

SOURCE_KEY, SINK_KEY = "flag_source", "file_sink"


class BoundToSettings(BaseModel):
    """A resource whose class has the settings as its defaults.

    Dagster takes the values that a resource was made with only where a launch configures none of its fields. As soon
    as a launch gives one field, the others get the defaults of the class. So the settings have to be these defaults.

    Attributes:
        settings: what the class is bound to; None where it is not, and run configuration may set anything.
    """

    settings: ClassVar[Settings | None] = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the resource as *settings* configure it."""
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
        """The source, while a run holds it open."""
        return self._client

    @asynccontextmanager
    async def yield_for_execution(  # type: ignore[override]  # Dagster takes asynchronous ones too
        self, context: dg.InitResourceContext
    ) -> AsyncIterator["FlagSourceResource"]:
        """Open the session on the run's own loop, and close it after the run.

        Raises ConfigurationError for a source that run configuration may not name.
        """
        check_places(context, self.settings, source=self.source)
        async with open_source(self) as source:
            self._client = source
            yield self


class FileSinkResource(dg.ConfigurableResource[Any], StoreSettings, BoundToSettings):
    """Where files go: one store with its own threads for the whole run."""

    _sink: FileSink = PrivateAttr()

    @property
    def sink(self) -> FileSink:
        """The sink, while a run holds it open."""
        return self._sink

    @asynccontextmanager
    async def yield_for_execution(  # type: ignore[override]  # Dagster takes both kinds, its annotation knows one
        self,
        context: dg.InitResourceContext,
    ) -> AsyncIterator["FileSinkResource"]:
        """Prepare the store, and wait for its threads after the run.

        Raises ConfigurationError for a store that run configuration may not name.
        """
        await asyncio.to_thread(check_places, context, self.settings, store=self.store)
        async with FileSink(self.store, threads=self.sink_threads) as sink:
            self._sink = sink
            yield self


async def image_limits() -> Limits:
    """Return what a stored image may cost to decode: the environment's limits, because a catalog has no source."""
    settings = await asyncio.to_thread(load_settings)
    return settings.image_limits


def check_places(context: dg.InitResourceContext, settings: Settings | None, **opened: str) -> None:
    """Raise ConfigurationError if the run would use a source or a store that its deployment does not allow.

    *opened* is what the resource is about to open, by field name. The source that the run's configuration names is
    checked with every resource, because Dagster opens the store first, and a refused run should not make its folders.
    It may read the file system.
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
    """Return the value of a resource's field if the run's configuration gives it literally."""
    found: Any = context.run.run_config if context.run else {}
    for step in ("resources", key, "config", field):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else None
