"""Commands for messages, complete so that they can be pasted."""

import shlex
from collections.abc import Iterable

from flag_pipeline.errors import ConfigurationError
from flag_pipeline.settings import Settings, load_settings


def fetch_command(name: str, codes: Iterable[str] = (), *, source: str = "", store: str = "") -> str:
    """Return the command line of *name*; an empty *source* or *store* is the environment's."""
    return shlex.join(["flag-pipeline", name, *codes, *_option("--source", source), *_option("--store", store)])


def command_for(name: str, settings: Settings) -> str:
    """Return the command line of *name* for the source and store of *settings*."""
    configured = _configured()
    source = "" if configured and configured.source == settings.source else settings.source
    return fetch_command(name, source=source, store=unconfigured_store(settings.store))


def status_command(settings: Settings) -> str:
    """Return the command line of `status` for the store of *settings*."""
    return fetch_command("status", store=unconfigured_store(settings.store))


def unconfigured_store(store: str) -> str:
    """Return *store*, empty if it is the environment's."""
    configured = _configured()
    return "" if configured and configured.store == store else store


def _configured() -> Settings | None:
    try:
        return load_settings()
    except ConfigurationError:
        # An option replaces the invalid variable.
        return None


def _option(name: str, value: str) -> list[str]:
    return [name, value] if value else []
