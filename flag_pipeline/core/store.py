"""Where files lie: what the sink needs of a place, whether that is a local folder, a bucket or any other URL."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import Protocol

from flag_pipeline.errors import SinkError


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

    def read(self, path: str) -> bytes:
        """Return the content. Raises FileNotFoundError."""

    def write(self, path: str, content: bytes) -> None:
        """Put *content* at *path*: readers see what was there before, or all of it."""

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
