"""The local folder as a store: every file whole or not at all, shared with other processes, never left by a link."""

import logging
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from flag_pipeline.stores.atomic_files import (
    alone,
    holds,
    make_root,
    open_folder,
    read_file,
    replace_file,
    set_aside,
    sweep_temporaries,
)
from flag_pipeline.stores.store import MAX_FILE_BYTES, path_parts

logger = logging.getLogger(__name__)

LOCK = "records/.lock"


class LocalFolder:
    """Files below a folder of this machine; see `Store` for what each method promises."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._closing = ExitStack()
        self._kept: dict[str, int] = {}
        self._lock = -1
        self._batch = threading.local()

    def prepare(self, folders: Iterable[str]) -> None:
        """Make the folders and keep them open, sweep what killed runs left half written, and open the lock."""
        make_root(self.root)
        for folder in folders:
            with self._folder((folder,), make=True) as opened:
                self._kept[folder] = os.dup(opened)
                self._closing.callback(os.close, self._kept[folder])
            sweep_temporaries(self.root / folder)
        with self._place(LOCK) as (name, opened):
            self._lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644, dir_fd=opened)
        self._closing.callback(os.close, self._lock)

    def close(self) -> None:
        """Give the folders and the lock back."""
        self._kept.clear()
        self._closing.close()

    def alone(self, code: str) -> AbstractContextManager[None]:
        """Keep other processes of this machine from saving the same country meanwhile."""
        # At most eight ASCII letters make a place of their own in a file that stays empty.
        return alone(self._lock, int.from_bytes(code.encode(), "big"))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Push each folder to the disk once for all that this thread writes inside the block."""
        self._batch.written = written = set[int]()
        try:
            yield
        finally:
            self._batch.written = None
            for folder in written:
                os.fsync(folder)

    def _push(self, folder: int) -> None:
        # Without this a power cut can forget a new name although the content is on the disk.
        written = getattr(self._batch, "written", None)
        if written is not None and folder in self._kept.values():
            written.add(folder)
        else:
            os.fsync(folder)

    def names(self, folder: str) -> list[str]:
        """Return the names of the visible files in *folder*."""
        with suppress(FileNotFoundError), self._folder(path_parts(folder)) as opened:
            return [name for name in os.listdir(opened) if not name.startswith(".")]  # noqa: PTH208 - see files.py
        return []

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return the content; a link is replaced by the file that belongs there, never followed."""
        with self._place(path) as (name, folder):
            return read_file(name, folder, max_bytes=max_bytes)

    def write(self, path: str, content: bytes) -> None:
        """Put *content* in place in one step, after it has reached the disk; identical content is not rewritten."""
        with self._place(path, make=True) as (name, folder):
            if holds(name, folder, content):
                return
            try:
                replace_file(name, folder, content)
            except IsADirectoryError:
                logger.warning("%s was a folder; it is %s beside it now", path, set_aside(name, folder))
                replace_file(name, folder, content)
            self._push(folder)

    def push(self, folder: str) -> None:
        """Push the folder to the disk at once, also in the middle of `together`."""
        with self._folder((folder,)) as opened:
            os.fsync(opened)
            (getattr(self._batch, "written", None) or set()).discard(opened)

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        found = self._stat(path)
        return found is not None and stat.S_ISREG(found.st_mode)

    def delete(self, path: str, *, kept: str | None = None) -> None:
        """Delete the file, if it is there and is not *kept* by another name."""
        found, other = self._stat(path), self._stat(kept) if kept else None
        if found is None or stat.S_ISDIR(found.st_mode):
            return
        # Where case does not count, a name that changed only in case is still the same file.
        if other is None or not os.path.samestat(found, other):
            with suppress(FileNotFoundError), self._place(path) as (name, folder):
                os.unlink(name, dir_fd=folder)

    def _stat(self, path: str) -> os.stat_result | None:
        with suppress(FileNotFoundError), self._place(path) as (name, folder):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        return None

    @contextmanager
    def _place(self, path: str, *, make: bool = False) -> Iterator[tuple[str, int]]:
        """Give the file's name and its open folder, which *make* makes if need be."""
        *folders, name = path_parts(path)
        with self._folder(tuple(folders), make=make) as folder:
            yield name, folder

    @contextmanager
    def _folder(self, names: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        """Give a descriptor of the folder that *names* lead to from the root, open inside the block."""
        with ExitStack() as opened:
            descriptor = self._kept.get(names[0]) if names else None
            if descriptor is None:
                # The root itself may be a link: that is the user's choice.
                descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
                opened.callback(os.close, descriptor)
            else:
                names = names[1:]
            for name in names:
                descriptor = open_folder(name, descriptor, make=make)
                opened.callback(os.close, descriptor)
            yield descriptor
