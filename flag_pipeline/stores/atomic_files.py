"""Atomic file operations on a local disk.

Functions take an open folder's descriptor, so that no symbolic link can redirect them. They make few system calls,
because each one releases the GIL.
"""

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from flag_pipeline.errors import SinkError
from flag_pipeline.stores.store import Content, too_large

TEMPORARY_PREFIX = ".flag-pipeline-"
ASIDE_PREFIX = ".set-aside-"
# A younger temporary may belong to an active run.
STALE_TEMPORARY_S = 3600.0

# Names also contain the process ID, because forks inherit these.
_PROGRAM, _numbers = secrets.token_hex(8), count()


def open_folder(name: str, parent: int, *, make: bool) -> int:
    """Return a descriptor; *make* creates it durably. Raises SinkError for a symbolic link."""
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
            os.fsync(parent)
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.ENOTDIR} and _is_link(name, parent):
            raise SinkError(f"{name!r} leads out of the store through a symbolic link", path=name) from exc
        raise


def make_root(root: Path) -> None:
    """Make *root* and its parents durably."""
    if not root.is_dir():
        make_root(root.parent)
        root.mkdir(exist_ok=True)
        parent = os.open(root.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _is_link(name: str, folder: int) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def read_file(name: str, folder: int, *, max_bytes: int) -> bytes:
    """Return the content. Raises FileNotFoundError for a symbolic link, a pipe or a device."""
    try:
        # O_NONBLOCK: a pipe would wait for a writer.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=folder)
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.ENXIO, errno.ENODEV}:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from exc
        raise
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        if found.st_size > max_bytes:
            raise too_large(name, max_bytes=max_bytes)
        left, chunks = found.st_size, []
        while left > 0 and (chunk := os.read(descriptor, left)):
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def has_content(name: str, folder: int, content: Content) -> bool:
    """Whether a regular file has this content."""
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return (
            stat.S_ISREG(found.st_mode)
            and found.st_size == len(content)
            and (read_file(name, folder, max_bytes=len(content)) == content)
        )
    return False


def replace_file(name: str, folder: int, content: Content) -> None:
    """Sync a temporary file and rename it to *name*. The caller syncs the folder."""
    temporary = f"{TEMPORARY_PREFIX}{_PROGRAM}-{os.getpid()}-{next(_numbers)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=folder)
    is_renamed = False
    try:
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        is_renamed = True
    finally:
        if not is_renamed:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)


def move_aside(name: str, folder: int) -> str:
    """Rename *name* to a hidden name."""
    aside = f"{ASIDE_PREFIX}{secrets.token_hex(8)}"
    os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
    return aside


def delete_stale_temporaries(folder: Path) -> None:
    """Delete old temporaries of killed runs."""
    oldest = time.time() - STALE_TEMPORARY_S
    # It follows no links to folders. Path.rglob takes longer.
    found_in = ((parent, name) for parent, _, names in os.walk(folder) for name in names)
    for temporary in (Path(parent, name) for parent, name in found_in if name.startswith(TEMPORARY_PREFIX)):
        with suppress(FileNotFoundError):
            found = temporary.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mtime < oldest:
                temporary.unlink()


@contextmanager
def lock_byte(descriptor: int, offset: int) -> Iterator[None]:
    """Lock the byte at *offset* against other processes."""
    fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, offset)
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset)
