"""Files on a disk that crashes, fills up and is shared: whole or not at all, and never somebody else's.

Everything here works in an open folder, by its descriptor: nobody can lead it elsewhere meanwhile by a link, and no
path is looked up again for each file. Each call to the system lets go of Python's lock, which a busy program takes long
to give back, so a file takes as few of them as it can.
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
from flag_pipeline.stores.store import too_large

TEMPORARY_PREFIX = ".flag-pipeline-"
ASIDE_PREFIX = ".set-aside-"
# A younger temporary may belong to a run that is still writing it.
STALE_TEMPORARY_S = 3600.0

# Together with the process's number: a forked one has these of its parent.
_PROGRAM, _numbers = secrets.token_hex(8), count()


def open_folder(name: str, parent: int, *, make: bool) -> int:
    """Return a descriptor of the folder *name* in *parent*, made if need be; the entry of a new one is on the disk.

    Raises SinkError when it is a symbolic link: it could lead anywhere.
    """
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
    """Make the folder *root* and those above it where they are missing, and push the entry of each to the disk."""
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
    """Return the file's content.

    Raises FileNotFoundError also for a link, a pipe or a device, which are never followed or read: the next file to be
    written takes their place. Raises the error of `too_large` before anything of a larger file is read.
    """
    try:
        # A pipe in its place would keep the open waiting for somebody to write to it.
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


def holds(name: str, folder: int, content: bytes) -> bool:
    """Whether there is a file *name* of its own, no link, with exactly this content."""
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return (
            stat.S_ISREG(found.st_mode)
            and found.st_size == len(content)
            and (read_file(name, folder, max_bytes=len(content)) == content)
        )
    return False


def replace_file(name: str, folder: int, content: bytes) -> None:
    """Write beside the file, push it to the disk, and put it in place in one step.

    The folder is the caller's to push: without that, a power cut can forget the new name although the content is there.
    """
    # Fresh randomness for each name would be a call to the system more.
    temporary = f"{TEMPORARY_PREFIX}{_PROGRAM}-{os.getpid()}-{next(_numbers)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=folder)
    try:
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise


def set_aside(name: str, folder: int) -> str:
    """Give what is called *name* another, hidden name, and return that; nothing in it is lost."""
    aside = f"{ASIDE_PREFIX}{secrets.token_hex(8)}"
    os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
    return aside


def sweep_temporaries(folder: Path) -> None:
    """Delete what runs that were killed left half written, at any depth: only our own files, only old ones."""
    oldest = time.time() - STALE_TEMPORARY_S
    # Links to folders are not followed.
    for temporary in folder.rglob(f"{TEMPORARY_PREFIX}*"):
        with suppress(FileNotFoundError):
            found = temporary.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mtime < oldest:
                temporary.unlink()


@contextmanager
def alone(descriptor: int, place: int) -> Iterator[None]:
    """Keep other processes out of the block for the same *place*; the system frees it however the process ends."""
    fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, place)
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, place)
