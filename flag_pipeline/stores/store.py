"""The Store protocol, and CheckedStore, which translates its errors."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import PurePosixPath
from typing import Protocol

from flag_pipeline.errors import ForeignFileError, SinkError, UnusableFileError

# Larger than any flag, and than the table of thousands of countries.
MAX_FILE_BYTES = 64 * 1024 * 1024
# Room for a thousand changes, the most that the setting `history_keep` allows.
MAX_RECORD_BYTES = 4 * 1024 * 1024

# Any other error can be about the disk, the network or the process.
_ABOUT_ONE_FILE = frozenset({errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG})
_FOREIGN = frozenset({errno.EISDIR, errno.EFBIG})


class Store(Protocol):
    """Files below one root, named by path. Methods block, and raise OSError or SinkError."""

    def prepare(self, folders: Iterable[str]) -> None:
        """Make *folders*, and check that the store can be used."""

    def close(self) -> None:
        """Release what `prepare` opened."""

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Hold the lock *key* (at most 8 ASCII characters) if the store has locks."""

    def batch(self) -> AbstractContextManager[None]:
        """Make the writes of this thread durable at the end of the block, if that is cheaper."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the visible files in *folder*; none if the folder is missing."""

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return the content. Raises FileNotFoundError, or the error of `too_large`."""

    def write(self, path: str, content: bytes) -> None:
        """Replace the file atomically. A folder at *path* is renamed."""

    def sync(self, folder: str) -> None:
        """Make the names in *folder* durable now, also inside `batch`."""

    def exists(self, path: str) -> bool:
        """Whether there is a file at *path*."""

    def delete(self, path: str, *, kept: str | None = None) -> None:
        """Delete the file if it exists, unless the path *kept* is the same file."""


class CheckedStore:
    """A `Store` that raises SinkError, or UnusableFileError if only one file is affected."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """Return the content, None if the file is missing."""
        with raising_sink_error(path), suppress(FileNotFoundError):
            return self._store.read(path, max_bytes)
        return None

    def read_small(self, path: str, max_bytes: int = MAX_RECORD_BYTES) -> bytes | None:
        """Return the content; None also for a folder or a larger file, which the next save replaces."""
        with suppress(ForeignFileError):
            return self.read(path, max_bytes)
        return None

    def read_hint(self, path: str) -> bytes | None:
        """Return the content; None also if this file is unreadable."""
        with suppress(UnusableFileError):
            return self.read(path)
        return None

    @contextmanager
    def lock(self, key: str, path: str) -> Iterator[None]:
        """Hold the lock *key*; an error names *path*."""
        with raising_sink_error(path), self._store.lock(key):
            yield

    def names(self, folder: str) -> list[str]:
        """Return the names of the visible files in *folder*."""
        with raising_sink_error(folder):
            return self._store.names(folder)

    def exists(self, path: str) -> bool:
        """Whether there is a file at *path*."""
        with raising_sink_error(path):
            return self._store.exists(path)

    def write(self, path: str, content: bytes) -> None:
        """Replace the file atomically."""
        with raising_sink_error(path):
            self._store.write(path, content)

    def delete(self, path: str, *, kept: str | None = None) -> None:
        """Delete the file if it exists."""
        with raising_sink_error(path):
            self._store.delete(path, kept=kept)

    def sync(self, folder: str) -> None:
        """Make the names in *folder* durable now."""
        with raising_sink_error(folder):
            self._store.sync(folder)


def split_path(path: str) -> tuple[str, ...]:
    """Return the parts of a path below the root. Raises SinkError if it leaves the root."""
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise SinkError(f"{path!r} leads out of the store", path=path)
    return relative.parts


@contextmanager
def raising_sink_error(path: str) -> Iterator[None]:
    """Raise an OSError from inside the block as SinkError about *path*."""
    try:
        yield
    except OSError as exc:
        reason = f"cannot use {path} in the store: {exc.strerror or exc}"
        if exc.errno in _FOREIGN:
            raise ForeignFileError(f"{reason}; the next fetch replaces it", path=path) from exc
        kind = UnusableFileError if exc.errno in _ABOUT_ONE_FILE else SinkError
        raise kind(reason, path=path) from exc


def too_large(path: str, *, max_bytes: int) -> OSError:
    """Return the error for a file of more than *max_bytes*."""
    return OSError(errno.EFBIG, f"more than {max_bytes:,} bytes", path)
