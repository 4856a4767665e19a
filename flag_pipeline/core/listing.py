"""Lists which files countries have in a store, reading only folders."""

from contextlib import closing
from dataclasses import dataclass

from flag_pipeline.core.layout import FLAGS, METADATA, RECORDS, code_of
from flag_pipeline.stores.open_store import open_store
from flag_pipeline.stores.store import raising_sink_error


@dataclass(frozen=True, slots=True)
class StoreListing:
    """Codes of countries with a record, by stored file."""

    records: frozenset[str]
    flags: frozenset[str]
    metadata: frozenset[str]


def list_store(root: str) -> StoreListing:
    """Return the codes in the store at *root*; raises SinkError."""
    store = open_store(root)
    with raising_sink_error(root), closing(store):
        records, flags, metadata = (
            frozenset(code_of(name) for name in store.names(folder) if not name.startswith("."))
            for folder in (RECORDS, FLAGS, METADATA)
        )
    return StoreListing(records, flags & records, metadata & records)
