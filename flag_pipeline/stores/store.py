"""Where files lie: what the sink needs of a place, whether that is a local folder, a bucket or any other URL."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import PurePosixPath
from typing import Protocol

from flag_pipeline.errors import ForeignFileError, SinkError, UnusableFileError

# More than any table of thousands of countries has, and than a flag may have.
MAX_FILE_BYTES = 64 * 1024 * 1024

# What the system says of one file. Anything else can be the disk, the network or the process.
_OF_ONE_FILE = frozenset({errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG})
_FOREIGN = frozenset({errno.EISDIR, errno.EFBIG})


class Store(Protocol):
    """Files below one root, by path. Methods block, and raise OSError or SinkError when the place refuses."""

    def prepare(self, folders: Iterable[str]) -> None:
        """Make the place ready for these folders, and find out early whether it can be used."""

    def close(self) -> None:
        """Give back what `prepare` took."""

    def alone(self, code: str) -> AbstractContextManager[None]:
        """Keep others from saving the same country meanwhile, where the place can do that."""

    def together(self) -> AbstractContextManager[None]:
        """Let what this thread writes inside the block last only from its end on, where that is cheaper for many."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the visible files in *folder*, none if there is no such folder."""

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return the content. Raises FileNotFoundError, and the error of `too_large` for more than *max_bytes*."""

    def write(self, path: str, content: bytes) -> None:
        """Put *content* at *path*: readers see what was there before, or all of it; a folder there gives way."""

    def push(self, folder: str) -> None:
        """Let the names that were written in *folder* last before anything that is written from now on."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

    def delete(self, path: str, *, kept: str | None = None) -> None:
        """Delete the file, if it is there and is not the very file that *kept* names too."""


def path_parts(path: str) -> tuple[str, ...]:
    """Return the parts of a path below the root. Raises SinkError for one that leads out of it."""
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise SinkError(f"{path!r} leads out of the store", path=path)
    return relative.parts


@contextmanager
def refusing(path: str) -> Iterator[None]:
    """Turn what the operating system or an object store's client raises inside the block into SinkError."""
    try:
        yield
    except OSError as exc:
        reason = f"cannot use {path} in the store: {exc.strerror or exc}"
        if exc.errno in _FOREIGN:
            raise ForeignFileError(f"{reason}; the next fetch replaces it", path=path) from exc
        kind = UnusableFileError if exc.errno in _OF_ONE_FILE else SinkError
        raise kind(reason, path=path) from exc


def too_large(path: str, *, max_bytes: int) -> OSError:
    """Return the error of a file that has more bytes than are to be read."""
    return OSError(errno.EFBIG, f"more than {max_bytes:,} bytes", path)
