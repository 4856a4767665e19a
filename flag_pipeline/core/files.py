"""Files on a disk that crash, fill up and are shared: whole or not at all, and never somebody else's."""

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY_PREFIX = ".flag-pipeline-"
# A younger temporary may belong to a run that is still writing it.
STALE_TEMPORARY_S = 3600.0


def holds(target: Path, content: bytes) -> bool:
    """Whether *target* is a file of its own, no link, with exactly this content."""
    with suppress(FileNotFoundError):
        found = target.lstat()
        return stat.S_ISREG(found.st_mode) and found.st_size == len(content) and target.read_bytes() == content
    return False


def replace_file(target: Path, content: bytes) -> None:
    """Write beside the target, push it to the disk, and put it in place in one step."""
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync_folder(target.parent)


def _fsync_folder(folder: Path) -> None:
    # Without this a power cut can forget the new name although the content is on the disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporaries(folder: Path) -> None:
    """Delete what runs that were killed left half written, at any depth: only our own files, only old ones."""
    oldest = time.time() - STALE_TEMPORARY_S
    # Links to folders are not followed.
    for temporary in folder.rglob(f"{TEMPORARY_PREFIX}*"):
        with suppress(FileNotFoundError):
            found = temporary.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mtime < oldest:
                temporary.unlink()


def is_same_file(one: Path, other: Path) -> bool:
    """Whether both names lead to one file, as two that differ in case do on some file systems."""
    with suppress(FileNotFoundError):
        return one.samefile(other)
    return False


def open_lock(path: Path) -> int:
    """Return a descriptor of the lock file at *path*, made if need be, for `alone` to hold bytes of."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)


@contextmanager
def alone(descriptor: int, place: int) -> Iterator[None]:
    """Keep other processes out of the block for the same *place*; the system frees it however the process ends."""
    fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, place)
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, place)
