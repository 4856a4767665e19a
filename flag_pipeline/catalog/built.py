"""Whether a store's derived files match its records and flags, from listings alone."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress

from flag_pipeline.core.layout import (
    BUILT_PATH,
    CATALOG,
    FLAGS,
    HISTORY,
    PAGE_DETAILS,
    PICTURES,
    RECORDS,
    RENDITION_RECORDS,
    THUMBNAILS,
)
from flag_pipeline.errors import SinkError
from flag_pipeline.stores.open_store import open_store
from flag_pipeline.stores.store import Store, raising_sink_error

_INPUTS, _OUTPUTS = (RECORDS, FLAGS, RENDITION_RECORDS), (CATALOG, PAGE_DETAILS, PICTURES, THUMBNAILS, HISTORY)


def describe_inputs(root: str, versions: Iterable[object]) -> str:
    """Return the digest of *versions* and all stored inputs; empty if the store cannot tell."""
    return _digest(root, _INPUTS, versions)


def is_built_from(root: str, inputs: str) -> bool:
    """Whether `note_build` noted the derived files with *inputs*."""
    with suppress(SinkError, FileNotFoundError), _opened(root) as store:
        return bool(inputs) and store.read(BUILT_PATH) == _note(root, inputs)
    return False


def note_build(root: str, inputs: str) -> None:
    """Note that the derived files were built from *inputs*, described before."""
    # Without the note, they are built again.
    with suppress(SinkError), _opened(root) as store:
        store.write(BUILT_PATH, _note(root, inputs))


def _note(root: str, inputs: str) -> bytes:
    return f"{inputs} {_digest(root, _OUTPUTS, ())}".encode()


def _digest(root: str, folders: Iterable[str], versions: Iterable[object]) -> str:
    with suppress(SinkError), _opened(root) as store:
        parts = [store.fingerprint(folder) for folder in folders]
        return hashlib.sha256(repr([*versions, *parts]).encode()).hexdigest() if all(parts) else ""
    return ""


@contextmanager
def _opened(root: str) -> Iterator[Store]:
    with raising_sink_error(root), closing(open_store(root)) as store:
        yield store
