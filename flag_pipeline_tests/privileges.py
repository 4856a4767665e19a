"""What only root may do, for tests that need a disk that is really full, or a folder that is really closed to them."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_LIBC = ctypes.CDLL(None, use_errno=True)
# Linux: the third version of the interface, two words a set (capget(2)); what overrides permissions are bits 1 and 2.
_HEADER = (ctypes.c_uint32 * 2)(0x20080522, 0)
_OVERRIDES = 0b110


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Inside the block, permissions hold for this thread, and for those that it starts, though it be root's."""
    if os.geteuid() != 0:
        yield
        return
    before, reduced = ((ctypes.c_uint32 * 6)() for _ in range(2))
    if _LIBC.capget(_HEADER, before) != 0:
        pytest.skip("this system does not tell its capabilities")
    reduced[:] = [before[0] & ~_OVERRIDES, *before[1:]]
    _LIBC.capset(_HEADER, reduced)
    try:
        yield
    finally:
        _LIBC.capset(_HEADER, before)


@contextmanager
def small_disk(folder: Path, *, size_kb: int) -> Iterator[None]:
    """Inside the block, *folder* is a disk of that size, in memory; skips the test if mounting one is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "flag-pipeline-tests", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"a disk of its own cannot be mounted here: {exc}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


def grow(folder: Path, *, size_kb: int) -> None:
    """Give the small disk at *folder* another size."""
    subprocess.run(["mount", "-o", f"remount,size={size_kb}k", str(folder)], check=True)  # noqa: S607


def make_read_only(folder: Path) -> None:
    """Let nothing more be written to the small disk at *folder*."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)  # noqa: S607
