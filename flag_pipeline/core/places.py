"""The places that `FLAG_STORE` can name, and which kind of store each of them is."""

import os
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from flag_pipeline.core.bucket import SCHEMES, open_bucket
from flag_pipeline.core.folder import LocalFolder
from flag_pipeline.core.store import MAX_FILE_BYTES, Store, path_parts, too_large
from flag_pipeline.errors import SinkError

if TYPE_CHECKING:
    from upath import UPath

_NOT_PLAIN = re.compile(r"//|::|[\\%]")


def open_store(root: str) -> Store:
    """Return the store at *root*, a folder or a URL; nothing is read or written yet.

    Raises SinkError for a bucket that the environment does not describe well enough to be opened, and for a URL that
    nothing here can open.
    """
    if (folder := local_folder(root)) is not None:
        return LocalFolder(folder)
    if root.partition("://")[0] in SCHEMES:
        return open_bucket(root)
    from upath import UPath

    try:
        place = UPath(root)
        # Its client is another package, which may be missing.
        place.fs  # noqa: B018 - made on first use
    except (ImportError, ValueError) as exc:
        raise SinkError(f"cannot use {root}: {exc}", path=root) from exc
    return UrlStore(place)


def local_folder(root: str) -> Path | None:
    """Return the folder of this machine that *root* names, as a path or as a `file://` URL; None for another URL.

    universal-pathlib would not write a file of a local folder in one step.
    """
    if "://" not in root:
        return Path(root)
    if not root.startswith("file://"):
        return None
    from upath import UPath

    return Path(UPath(root).path)


def is_within(store: str, other: str) -> bool:
    """Whether *store* is *other* or below it, wherever links and `..` lead. It may read the file system."""
    folder, other_folder = local_folder(store), local_folder(other)
    if folder is not None and other_folder is not None:
        return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(other_folder))
    scheme, _, path = store.partition("://")
    other_scheme, _, other_path = other.partition("://")
    path, other_path = path.rstrip("/"), other_path.rstrip("/")
    if scheme.lower() != other_scheme.lower() or not f"{path}/".startswith(f"{other_path}/"):
        return False
    # What a client may take for something else than a name: such a URL may lead out again.
    rest = path.removeprefix(other_path)
    return not any(part in {".", ".."} for part in rest.split("/")) and not _NOT_PLAIN.search(rest)


class UrlStore:
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
