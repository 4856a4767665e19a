"""Lists which countries have which files in a store. It reads only folders and writes nothing."""

from contextlib import closing
from dataclasses import dataclass

from flag_pipeline.core.layout import FLAGS, METADATA, RECORDS, code_of
from flag_pipeline.stores.open_store import open_store
from flag_pipeline.stores.store import raising_sink_error


@dataclass(frozen=True, slots=True)
class StoreListing:
    """The codes of countries by stored file.

    Attributes:
        records: codes with a record.
        flags: codes with a flag and a record.
        metadata: codes with metadata and a record.
    """

    records: frozenset[str]
    flags: frozenset[str]
    metadata: frozenset[str]


def list_store(root: str) -> StoreListing:
    """Return the codes in the store at *root*.

    Raises SinkError if the store fails.
    """
    store = open_store(root)
    with raising_sink_error(root), closing(store):
        records, flags, metadata = (
            frozenset(code_of(name) for name in store.names(folder) if not name.startswith("."))
            for folder in (RECORDS, FLAGS, METADATA)
        )
    return StoreListing(records, flags & records, metadata & records)
