"""The Store protocol, and CheckedStore, which translates errors."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from flag_pipeline.errors import ForeignFileError, SinkError, UnusableFileError

MAX_FILE_BYTES = 64 * 1024 * 1024
# For 1,000 changes, the limit of `history_keep`.
MAX_RECORD_BYTES = 4 * 1024 * 1024

# A view, because a release can be larger than memory.
Content = bytes | memoryview

# Other errors can concern the whole store.
_ABOUT_ONE_FILE = frozenset({errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG})
_FOREIGN = frozenset({errno.EISDIR, errno.EFBIG})


class Store(Protocol):
    """Files below one root. Methods block and raise OSError or SinkError.

    Attributes:
        batch_size: changes that one thread makes together.
        gather_s: wait for more changes.
        turn_s: how long one thread loads.
        patience_s: wait for a thread before another helps.
        n_readers: threads that read a list of files soonest.
    """

    batch_size: int
    gather_s: float
    turn_s: float
    patience_s: float
    n_readers: int

    def prepare(self, folders: Iterable[str]) -> None:
        """Make *folders*; check the store."""

    def close(self) -> None:
        """Release what `prepare` opened."""

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Hold the lock *key*, at most 8 ASCII characters, if supported."""

    def batch(self) -> AbstractContextManager[None]:
        """Let this thread's changes become durable only at the end."""

    def names(self, folder: str) -> list[str]:
        """Return visible file names; none if *folder* is missing."""

    def fingerprint(self, folder: str) -> str:
        """Return a text that changes with the visible files, without reading them; empty if unknown."""

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return the content. Raises FileNotFoundError or `too_large`."""

    def write(self, path: str, content: Content) -> None:
        """Replace the file atomically. A folder at *path* is renamed."""

    def exists(self, path: str) -> bool:
        """Whether the file exists."""

    def delete(self, path: str, *, kept: str | None = None) -> None:
        """Delete the file if it exists, unless *kept* is the same file."""


class CheckedStore:
    """A `Store` that raises SinkError, or UnusableFileError about one file."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """Return the content, None if the file is missing."""
        try:
            return self._store.read(path, max_bytes)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise _sink_error(exc, path) from exc

    def read_small(self, path: str, max_bytes: int = MAX_RECORD_BYTES) -> bytes | None:
        """Like `read`; None also for a folder or a larger file."""
        try:
            return self.read(path, max_bytes)
        except ForeignFileError:
            return None

    def read_hint(self, path: str) -> bytes | None:
        """Like `read`; None also if unreadable."""
        try:
            return self.read(path)
        except UnusableFileError:
            return None

    @contextmanager
    def lock(self, key: str, path: str) -> Iterator[None]:
        """Hold the lock *key*; an error names *path*."""
        with raising_sink_error(path), self._store.lock(key):
            yield

    def names(self, folder: str) -> list[str]:
        """See `Store`."""
        with raising_sink_error(folder):
            return self._store.names(folder)

    def exists(self, path: str) -> bool:
        """See `Store`."""
        with raising_sink_error(path):
            return self._store.exists(path)

    def write(self, path: str, content: Content) -> None:
        """See `Store`."""
        with raising_sink_error(path):
            self._store.write(path, content)

    def delete(self, path: str, *, kept: str | None = None) -> None:
        """See `Store`."""
        with raising_sink_error(path):
            self._store.delete(path, kept=kept)


def split_path(path: str) -> tuple[str, ...]:
    """Return the parts of *path*. Raises SinkError if it leaves the root."""
    # As `PurePosixPath` does, in a tenth of the time.
    parts = tuple(part for part in path.split("/") if part not in {"", "."})
    if path.startswith("/") or ".." in parts:
        raise SinkError(f"{path!r} leads out of the store", path=path)
    return parts


@contextmanager
def raising_sink_error(path: str) -> Iterator[None]:
    """Raise OSError as SinkError about *path*."""
    try:
        yield
    except OSError as exc:
        raise _sink_error(exc, path) from exc


def _sink_error(exc: OSError, path: str) -> SinkError:
    reason = f"cannot use {path} in the store: {exc.strerror or exc}"
    if exc.errno in _FOREIGN:
        return ForeignFileError(f"{reason}; the next fetch replaces it", path=path)
    kind = UnusableFileError if exc.errno in _ABOUT_ONE_FILE else SinkError
    return kind(reason, path=path)


def too_large(path: str, *, max_bytes: int) -> OSError:
    """Return the error for a large file."""
    return OSError(errno.EFBIG, f"more than {max_bytes:,} bytes", path)
