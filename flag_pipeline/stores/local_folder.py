"""A store in a local folder, which processes may share; follows no symbolic links."""

import hashlib
import logging
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from flag_pipeline.stores.atomic_files import (
    delete_stale_temporaries,
    has_content,
    lock_byte,
    make_root,
    move_aside,
    open_folder,
    read_file,
    replace_file,
)
from flag_pipeline.stores.store import MAX_FILE_BYTES, Content, split_path

logger = logging.getLogger(__name__)


class LocalFolder:
    """Files below a local folder with the lock file *lock_path*. `Store` describes the methods."""

    # Each system call releases the GIL: sixteen threads take four times as long as one.
    batch_size, turn_s, patience_s, n_readers = 8, 0.01, 0.25, 2
    # Syncing one country's files takes half as long among others'.
    gather_s = 0.01

    def __init__(self, root: Path, lock_path: str = ".lock") -> None:
        self.root = root
        self._lock_path = lock_path
        self._closing = ExitStack()
        self._folders: dict[str, int] = {}
        self._lock_file = -1
        self._batch = threading.local()

    def prepare(self, folders: Iterable[str]) -> None:
        """Open *folders* and the lock file; delete old temporaries."""
        make_root(self.root)
        for folder in folders:
            with self._open_folder(split_path(folder), make=True) as opened:
                self._folders[folder] = os.dup(opened)
                self._closing.callback(os.close, self._folders[folder])
            delete_stale_temporaries(self.root / folder)
        with self._open_parent(self._lock_path) as (name, opened):
            self._lock_file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644, dir_fd=opened)
        self._closing.callback(os.close, self._lock_file)

    def close(self) -> None:
        """Close all descriptors."""
        self._folders.clear()
        self._closing.close()

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Hold the lock *key* against other local processes."""
        # Eight bytes fit into a file offset.
        return lock_byte(self._lock_file, int.from_bytes(key.encode(), "big"))

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Sync each folder once for this thread's changes."""
        self._batch.written = written = set[int]()
        try:
            yield
        finally:
            self._batch.written = None
            for folder in written:
                os.fsync(folder)

    def _is_synced_by_batch(self, folder: int) -> bool:
        written = getattr(self._batch, "written", None)
        if written is None or folder not in self._folders.values():
            return False
        written.add(folder)
        return True

    def names(self, folder: str) -> list[str]:
        """See `Store`."""
        with suppress(FileNotFoundError), self._open_folder(split_path(folder)) as opened:
            return [name for name in os.listdir(opened) if not name.startswith(".")]  # noqa: PTH208 - a descriptor
        return []

    def fingerprint(self, folder: str) -> str:
        """See `Store`. Size, inode and time identify a file, because each write makes a new inode."""
        digest = hashlib.sha256()
        with suppress(FileNotFoundError), self._open_folder(split_path(folder)) as opened, os.scandir(opened) as found:
            for entry in sorted(found, key=lambda entry: entry.name):
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    stated = entry.stat(follow_symlinks=False)
                    digest.update(f"{entry.name}/{stated.st_size} {stated.st_ino} {stated.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return the content. A symbolic link counts as missing."""
        with self._open_parent(path) as (name, folder):
            return read_file(name, folder, max_bytes=max_bytes)

    def write(self, path: str, content: Content) -> None:
        """Replace the file atomically, unless it has this content."""
        with self._open_parent(path, make=True) as (name, folder):
            if has_content(name, folder, content):
                return
            try:
                replace_file(name, folder, content)
            except IsADirectoryError:
                logger.warning("%s was a folder; it is %s now", path, move_aside(name, folder))
                replace_file(name, folder, content)
            if not self._is_synced_by_batch(folder):
                os.fsync(folder)

    def exists(self, path: str) -> bool:
        """See `Store`."""
        found = self._stat(path)
        return found is not None and stat.S_ISREG(found.st_mode)

    def delete(self, path: str, *, kept: str | None = None) -> None:
        """See `Store`."""
        found, other = self._stat(path), self._stat(kept) if kept else None
        if found is None or stat.S_ISDIR(found.st_mode):
            return
        if other is None or not os.path.samestat(found, other):
            with suppress(FileNotFoundError), self._open_parent(path) as (name, folder):
                os.unlink(name, dir_fd=folder)
                # Alone, a deletion need not be durable.
                self._is_synced_by_batch(folder)

    def _stat(self, path: str) -> os.stat_result | None:
        with suppress(FileNotFoundError), self._open_parent(path) as (name, folder):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        return None

    def _open_parent(self, path: str, *, make: bool = False) -> AbstractContextManager[tuple[str, int]]:
        folder, _, name = path.rpartition("/")
        # Most files.
        if (kept := self._folders.get(folder)) is not None and name not in {"", ".", ".."}:
            return nullcontext((name, kept))
        return self._open_other_parent(path, make=make)

    @contextmanager
    def _open_other_parent(self, path: str, *, make: bool) -> Iterator[tuple[str, int]]:
        *folders, name = split_path(path)
        with self._open_folder(tuple(folders), make=make) as folder:
            yield name, folder

    @contextmanager
    def _open_folder(self, names: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        if (kept := self._folders.get("/".join(names))) is not None:
            yield kept
            return
        with ExitStack() as opened:
            n_kept = next((n for n in range(len(names) - 1, 0, -1) if "/".join(names[:n]) in self._folders), 0)
            if n_kept:
                descriptor = self._folders["/".join(names[:n_kept])]
            else:
                # The root may be a symbolic link.
                descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
                opened.callback(os.close, descriptor)
            for name in names[n_kept:]:
                descriptor = open_folder(name, descriptor, make=make)
                opened.callback(os.close, descriptor)
            yield descriptor
