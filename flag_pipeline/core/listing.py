"""What a store has by the names of its files alone: one listing a folder, and nothing is made, read or changed."""

import re
from contextlib import closing
from dataclasses import dataclass

from flag_pipeline.core.layout import FLAGS, METADATA, RECORDS
from flag_pipeline.stores.open_store import open_store
from flag_pipeline.stores.store import raising_sink_error


@dataclass(frozen=True, slots=True)
class StoreListing:
    """Which countries have which files in a store.

    Attributes:
        records: codes that have a record.
        flags, metadata: codes that have the file and a record, without which it counts for nothing.
    """

    records: frozenset[str]
    flags: frozenset[str]
    metadata: frozenset[str]


def list_store(root: str) -> StoreListing:
    """Return what the store at *root* has.

    Raises SinkError when the store refuses.
    """
    store = open_store(root)
    with raising_sink_error(root), closing(store):
        records, flags, metadata = (
            frozenset(re.split("[-.]", name, maxsplit=1)[0] for name in store.names(folder) if not name.startswith("."))
            for folder in (RECORDS, FLAGS, METADATA)
        )
    return StoreListing(records, flags & records, metadata & records)
