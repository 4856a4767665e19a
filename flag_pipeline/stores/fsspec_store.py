"""A store at any URL that universal-pathlib opens."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from flag_pipeline.errors import SinkError
from flag_pipeline.stores.store import MAX_FILE_BYTES, path_parts, too_large

if TYPE_CHECKING:
    from upath import UPath


class FsspecStore:
    """Files below any URL that universal-pathlib opens, each written by one call of its file system."""

    def __init__(self, root: "UPath") -> None:
        self.root = root

    def prepare(self, folders: Iterable[str]) -> None:
        """Make the folders, for file systems that have such."""
        try:
            for folder in folders:
                (self.root / folder).mkdir(parents=True, exist_ok=True)
        except NotImplementedError as exc:
            raise SinkError(f"cannot use {self.root}: it can be read, not written", path=str(self.root)) from exc

    def close(self) -> None:
        """Nothing was taken."""

    def alone(self, code: str) -> AbstractContextManager[None]:  # noqa: ARG002 - there is no lock to take for it
        """Let everybody in: the last one to write wins."""
        return nullcontext()

    def together(self) -> AbstractContextManager[None]:
        """Each file by itself."""
        return nullcontext()

    def names(self, folder: str) -> list[str]:
        """Return the names of the visible files in *folder*."""
        target = self._target(folder)
        return [entry.name for entry in target.iterdir() if not entry.name.startswith(".")] if target.exists() else []

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return the content; of a larger file only one byte too many is read."""
        with self._target(path).open("rb") as file:
            content: bytes = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise too_large(path, max_bytes=max_bytes)
        return content

    def write(self, path: str, content: bytes) -> None:
        """Put *content* at *path* in one call."""
        self._target(path).write_bytes(content)

    def push(self, folder: str) -> None:
        """When a file lasts is its file system's affair."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return self._target(path).exists()

    def delete(self, path: str, *, kept: str | None = None) -> None:  # noqa: ARG002 - two names are two files here
        """Delete the file, if it is there."""
        self._target(path).unlink(missing_ok=True)

    def _target(self, path: str) -> "UPath":
        return self.root.joinpath(*path_parts(path))
