"""The local folder as a store: every file whole or not at all, shared with other processes, never left by a link."""

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path

from flag_pipeline.core.files import alone, holds, is_same_file, open_lock, replace_file, sweep_temporaries
from flag_pipeline.core.store import path_parts
from flag_pipeline.errors import SinkError

LOCK = "records/.lock"


class LocalFolder:
    """Files below a folder of this machine; see `Store` for what each method promises."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._closing = ExitStack()
        self._lock = -1

    def prepare(self, folders: Iterable[str]) -> None:
        """Make the folders, sweep what killed runs left half written, and open the lock that `alone` needs."""
        for folder in folders:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
            sweep_temporaries(self.root / folder)
        self._lock = open_lock(self.root / LOCK)
        self._closing.callback(os.close, self._lock)

    def close(self) -> None:
        """Give the lock back."""
        self._closing.close()

    def alone(self, code: str) -> AbstractContextManager[None]:
        """Keep other processes of this machine from saving the same country meanwhile."""
        # At most eight ASCII letters make a place of their own in a file that stays empty.
        return alone(self._lock, int.from_bytes(code.encode(), "big"))

    def names(self, folder: str) -> list[str]:
        """Return the names of the visible files in *folder*."""
        target = self._target(folder)
        return [entry.name for entry in target.iterdir() if not entry.name.startswith(".")] if target.exists() else []

    def read(self, path: str) -> bytes:
        """Return the content; a link is replaced by the file that belongs there, never followed."""
        target = self._target(path)
        if target.is_symlink():
            raise FileNotFoundError(path)
        return target.read_bytes()

    def write(self, path: str, content: bytes) -> None:
        """Put *content* in place in one step, after it has reached the disk; identical content is not rewritten."""
        target = self._target(path)
        if not holds(target, content):
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, content)

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return self._target(path).exists()

    def delete(self, path: str, *, kept: str | None = None) -> None:
        """Delete the file, if it is there and is not *kept* by another name."""
        target = self._target(path)
        # Where case does not count, a name that changed only in case is still the same file.
        if kept is None or not is_same_file(target, self._target(kept)):
            target.unlink(missing_ok=True)

    @cached_property
    def _real_root(self) -> Path:
        return self.root.resolve()

    def _target(self, path: str) -> Path:
        target = self.root.joinpath(*path_parts(path))
        if not target.parent.resolve().is_relative_to(self._real_root):
            raise SinkError(f"{path!r} leads out of the store through a symbolic link", path=path)
        return target
