"""What was built, read back for the command line. Reading leaves no trace: no folder is made in a store."""

from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from flag_pipeline.catalog import gallery, history
from flag_pipeline.catalog import rows as catalog
from flag_pipeline.catalog.history import load_changes
from flag_pipeline.catalog.rows import CatalogRow, load_rows
from flag_pipeline.core.models import FlagChange
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.stores.open_store import open_store
from flag_pipeline.stores.store import raising_sink_error


def read_catalog(store: str) -> list[CatalogRow]:
    """Return the rows of the store's catalog.

    Raises ConfigurationError when there is none of this version.
    """
    try:
        return load_rows(_read(store, catalog.JSON_PATH))
    except ValueError as exc:
        raise ConfigurationError(f"the catalog in {store} is damaged or of another version; fetch again") from exc


def read_changes(store: str, *, since: datetime | None = None) -> list[FlagChange]:
    """Return the changes in the store's history, newest first; those before *since* (aware) are left out.

    Raises ConfigurationError when there is no history of this version.
    """
    try:
        changes = load_changes(_read(store, history.JSON_PATH))
    except ValueError as exc:
        raise ConfigurationError(f"the history in {store} is damaged or of another version; fetch again") from exc
    return [change for change in changes if since is None or change.changed_at >= since]


def page_address(store: str) -> str:
    """Return the `file:` address of the store's page.

    Raises ConfigurationError when there is none, or when it lies where a browser cannot read it.
    """
    if "://" in store:
        raise ConfigurationError(
            f"a browser cannot open {store}; download its {catalog.CATALOG_FOLDER}/ and open it there"
        )
    page = Path(store, gallery.PATH)
    if not page.is_file():
        raise ConfigurationError(_missing(store, gallery.PATH))
    return page.resolve().as_uri()


def _read(store: str, path: str) -> bytes:
    # From the store and not through a sink, which would prepare it for writing.
    with raising_sink_error(path), closing(open_store(store)) as opened, suppress(FileNotFoundError):
        return opened.read(path)
    raise ConfigurationError(_missing(store, path))


def _missing(store: str, path: str) -> str:
    return f"there is no {path} in {store}; flag-pipeline run makes it"
