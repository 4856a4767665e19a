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

TEMPORARY_PREFIX = ".flag-pipeline-"
# A younger temporary may belong to a run that is still writing it.
STALE_TEMPORARY_S = 3600.0

# Together with the process's number: a forked one has these of its parent.
_PROGRAM, _numbers = secrets.token_hex(8), count()


def open_folder(name: str, parent: int, *, make: bool) -> int:
    """Return a descriptor of the folder *name* in *parent*, made if need be.

    Raises SinkError when it is a symbolic link: it could lead anywhere.
    """
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.ENOTDIR} and _is_link(name, parent):
            raise SinkError(f"{name!r} leads out of the store through a symbolic link", path=name) from exc
        raise


def _is_link(name: str, folder: int) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def read_file(name: str, folder: int) -> bytes:
    """Return the file's content. Raises FileNotFoundError also for a link, which is never followed."""
    try:
        # A pipe in its place would keep the open waiting for somebody to write to it.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from exc
        raise
    try:
        left, chunks = os.fstat(descriptor).st_size, []
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
        return stat.S_ISREG(found.st_mode) and found.st_size == len(content) and read_file(name, folder) == content
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
