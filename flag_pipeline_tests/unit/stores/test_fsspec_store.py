"""The store at a URL of universal-pathlib."""

import uuid

import pytest

from flag_pipeline.stores.fsspec_store import FsspecStore
from flag_pipeline.stores.open_store import open_store


def test_files_are_written_listed_read_and_deleted() -> None:
    """Hidden files are not listed, and a missing folder is empty."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    assert isinstance(store, FsspecStore)
    store.prepare(["flags"])

    with store.batch(), store.lock("CN"):
        store.write("flags/a", b"GIF89a")
        store.write("flags/.hidden", b"")

    assert store.names("flags") == ["a"]
    assert store.names("none") == []
    assert store.read("flags/a", 6) == b"GIF89a"
    with pytest.raises(OSError, match="more than 5 bytes"):
        store.read("flags/a", 5)

    store.delete("flags/a")
    store.delete("flags/a")

    assert not store.exists("flags/a")
    store.close()
