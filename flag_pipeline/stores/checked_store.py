"""A store whose every refusal is a SinkError, and in which a file that is not there is None."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from flag_pipeline.errors import ForeignFileError, UnusableFileError
from flag_pipeline.stores.store import MAX_FILE_BYTES, refusing

if TYPE_CHECKING:
    from flag_pipeline.stores.store import Store

# Room for a thousand changes, the most that the setting `history_keep` allows.
MAX_RECORD_BYTES = 4 * 1024 * 1024


class CheckedStore:
    """Reads and writes whole files of a `Store`. Every method blocks, and raises SinkError when the store refuses."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """Return the content. Raises UnusableFileError where only this file cannot be read."""
        with refusing(path), suppress(FileNotFoundError):
            return self._store.read(path, max_bytes)
        return None

    def read_small(self, path: str, max_bytes: int = MAX_RECORD_BYTES) -> bytes | None:
        """Return the content; None also if what is there gives way to the next file that is saved."""
        with suppress(ForeignFileError):
            return self.read(path, max_bytes)
        return None

    def read_hint(self, path: str) -> bytes | None:
        """Return the content; None also if this file cannot be read."""
        with suppress(UnusableFileError):
            return self.read(path)
        return None

    @contextmanager
    def alone(self, code: str, path: str) -> Iterator[None]:
        """Keep other processes from saving the country inside the block; *path* is what an error names."""
        with refusing(path), self._store.alone(code):
            yield

    def names(self, folder: str) -> list[str]:
        """Return the names of the visible files in *folder*."""
        with refusing(folder):
            return self._store.names(folder)

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        with refusing(path):
            return self._store.exists(path)

    def write(self, path: str, content: bytes) -> None:
        """Put *content* at *path*, whole or not at all."""
        with refusing(path):
            self._store.write(path, content)

    def delete(self, path: str, *, kept: str | None = None) -> None:
        """Delete the file, if it is there and is not *kept* by another name."""
        with refusing(path):
            self._store.delete(path, kept=kept)

    def push(self, folder: str) -> None:
        """Let the names in *folder* last before anything that is written from now on."""
        with refusing(folder):
            self._store.push(folder)
