"""Reads the catalog, the history and the page's address from a store, without writing to it."""

from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from flag_pipeline.catalog.history import load_changes
from flag_pipeline.catalog.rows import CatalogRow, load_rows
from flag_pipeline.core.layout import CATALOG, CATALOG_PATH, CHANGES_PATH, GALLERY_PATH
from flag_pipeline.core.models import FlagChange
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.stores.open_store import open_store
from flag_pipeline.stores.store import raising_sink_error


def read_catalog(store: str) -> list[CatalogRow]:
    """Return the rows of the store's catalog.

    Raises ConfigurationError if it is missing, damaged or of another version.
    """
    try:
        return load_rows(_read(store, CATALOG_PATH))
    except ValueError as exc:
        raise ConfigurationError(f"the catalog in {store} is damaged or of another version; fetch again") from exc


def read_changes(store: str, *, since: datetime | None = None) -> list[FlagChange]:
    """Return the changes in the store's history, newest first, optionally *since* an aware moment.

    Raises ConfigurationError like `read_catalog`.
    """
    try:
        changes = load_changes(_read(store, CHANGES_PATH))
    except ValueError as exc:
        raise ConfigurationError(f"the history in {store} is damaged or of another version; fetch again") from exc
    return [change for change in changes if since is None or change.changed_at >= since]


def page_address(store: str) -> str:
    """Return the `file:` URL of the store's page.

    Raises ConfigurationError if there is none, or the store is not a local folder.
    """
    if "://" in store:
        raise ConfigurationError(f"a browser cannot open {store}; download its {CATALOG}/ and open it there")
    page = Path(store, GALLERY_PATH)
    if not page.is_file():
        raise ConfigurationError(_missing(store, GALLERY_PATH))
    return page.resolve().as_uri()


def _read(store: str, path: str) -> bytes:
    # A sink would create folders.
    with raising_sink_error(path), closing(open_store(store)) as opened, suppress(FileNotFoundError):
        return opened.read(path)
    raise ConfigurationError(_missing(store, path))


def _missing(store: str, path: str) -> str:
    return f"there is no {path} in {store}; flag-pipeline run creates it"
