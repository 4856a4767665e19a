"""A store at any URL that universal-pathlib opens."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from flag_pipeline.errors import SinkError
from flag_pipeline.stores.store import MAX_FILE_BYTES, Content, split_path, too_large

if TYPE_CHECKING:
    from upath import UPath


class FsspecStore:
    """Files below a URL. `Store` describes the methods."""

    batch_size, gather_s, turn_s, patience_s, n_readers = 1, 0.0, 0.0, 0.0, 64

    def __init__(self, root: "UPath") -> None:
        self.root = root

    def prepare(self, folders: Iterable[str]) -> None:
        """See `Store`."""
        try:
            for folder in folders:
                (self.root / folder).mkdir(parents=True, exist_ok=True)
        except NotImplementedError as exc:
            raise SinkError(f"cannot use {self.root}: it can be read, not written", path=str(self.root)) from exc

    def close(self) -> None:
        """Do nothing."""

    def lock(self, key: str) -> AbstractContextManager[None]:  # noqa: ARG002 - part of `Store`
        """Lock nothing: the last write wins."""
        return nullcontext()

    def batch(self) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()

    def names(self, folder: str) -> list[str]:
        """See `Store`."""
        target = self._target(folder)
        return [entry.name for entry in target.iterdir() if not entry.name.startswith(".")] if target.exists() else []

    def fingerprint(self, folder: str) -> str:  # noqa: ARG002 - part of `Store`
        """Return an empty text, because file systems describe files in different ways."""
        return ""

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """See `Store`."""
        with self._target(path).open("rb") as file:
            content: bytes = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise too_large(path, max_bytes=max_bytes)
        return content

    def write(self, path: str, content: Content) -> None:
        """Write the file in one call."""
        self._target(path).write_bytes(bytes(content))

    def exists(self, path: str) -> bool:
        """See `Store`."""
        return self._target(path).exists()

    def delete(self, path: str, *, kept: str | None = None) -> None:  # noqa: ARG002 - two names are two files here
        """See `Store`."""
        self._target(path).unlink(missing_ok=True)

    def _target(self, path: str) -> "UPath":
        return self.root.joinpath(*split_path(path))
