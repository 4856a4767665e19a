"""The local folder: links, pipes and folders in the place of files, temporaries, and files with two names."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from flag_pipeline.errors import ForeignFileError, SinkError, UnusableFileError
from flag_pipeline.stores.atomic_files import ASIDE_PREFIX, STALE_TEMPORARY_S, TEMPORARY_PREFIX
from flag_pipeline.stores.local_folder import LocalFolder
from flag_pipeline.stores.store import CheckedStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalFolder]:
    """A store with one file, in `tmp_path`."""
    store = LocalFolder(tmp_path)
    store.prepare(["flags", "records"])
    store.write("flags/a", b"old")
    yield store
    store.close()


def make_link(path: Path) -> None:
    """Make a symbolic link to a file beside it."""
    path.symlink_to(path.parent / "a")


@pytest.mark.parametrize("make", [make_link, os.mkfifo], ids=["link", "pipe"])
def test_what_is_no_file_counts_as_missing_and_is_replaced(store: LocalFolder, tmp_path: Path, make: object) -> None:
    """Neither is followed or read."""
    assert callable(make)
    make(tmp_path / "flags/b")

    with pytest.raises(FileNotFoundError):
        store.read("flags/b")
    assert not store.exists("flags/b")
    assert CheckedStore(store).read("flags/b") is None

    store.write("flags/b", b"old")

    assert store.read("flags/b") == store.read("flags/a") == b"old"
    assert not (tmp_path / "flags/b").is_symlink()


def test_folder_in_the_place_of_a_file_is_renamed(store: LocalFolder, tmp_path: Path) -> None:
    """Its content is kept under a hidden name, and no temporary is left."""
    (tmp_path / "flags/b").mkdir()
    (tmp_path / "flags/b/note").write_text("mine")
    checked = CheckedStore(store)

    with pytest.raises(ForeignFileError, match="the next fetch replaces it"):
        checked.read("flags/b")
    assert checked.read_small("flags/b") is None
    assert checked.read_hint("flags/b") is None
    store.delete("flags/b")
    checked.write("flags/b", b"new")

    [aside] = (tmp_path / "flags").glob(f"{ASIDE_PREFIX}*")
    assert (aside / "note").read_text() == "mine"
    assert checked.read("flags/b") == b"new"
    assert sorted(checked.names("flags")) == ["a", "b"]
    assert list((tmp_path / "flags").glob(f"{TEMPORARY_PREFIX}*")) == []


def test_file_in_the_place_of_a_folder_fails_only_its_files(store: LocalFolder) -> None:
    """The error names the file."""
    with pytest.raises(UnusableFileError, match="flags/a/b"):
        CheckedStore(store).read("flags/a/b")


def test_folder_that_is_a_link_is_refused(store: LocalFolder, tmp_path: Path) -> None:
    """A link could lead out of the store."""
    (tmp_path / "flags/out").symlink_to(tmp_path)

    with pytest.raises(SinkError, match="leads out of the store through a symbolic link"):
        store.write("flags/out/x", b"")


def test_larger_file_is_not_read(store: LocalFolder) -> None:
    """The limit is inclusive."""
    assert store.read("flags/a", 3) == b"old"
    with pytest.raises(OSError, match="more than 2 bytes"):
        store.read("flags/a", 2)


def test_second_name_of_the_kept_file_stays(store: LocalFolder, tmp_path: Path) -> None:
    """On a file system that ignores case, the old name of a renamed file is the new file."""
    os.link(tmp_path / "flags/a", tmp_path / "flags/A")

    store.delete("flags/A", kept="flags/a")
    assert store.exists("flags/A")

    store.delete("flags/A", kept="flags/none")
    assert not store.exists("flags/A")


def test_only_old_temporaries_are_deleted(store: LocalFolder, tmp_path: Path) -> None:
    """A new one may belong to another run, and a link, a folder or another file is none of ours."""
    old, new, other = (tmp_path / "flags" / name for name in (f"{TEMPORARY_PREFIX}1", f"{TEMPORARY_PREFIX}2", "other"))
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (path.stat().st_mtime - 2 * STALE_TEMPORARY_S,) * 2)
    folder = tmp_path / "flags" / f"{TEMPORARY_PREFIX}3"
    folder.mkdir()

    store.close()
    store.prepare(["flags", "records"])

    assert not old.exists()
    assert new.exists()
    assert other.exists()
    assert folder.exists()
    assert store.names("none") == []


def test_batch_syncs_a_folder_once(store: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is synced when it is written, the folder at the end, also after deletions."""
    n_synced = 0
    fsync = os.fsync

    def count(descriptor: int) -> None:
        nonlocal n_synced
        n_synced += 1
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", count)

    with store.batch():
        store.write("flags/b", b"b")
        store.write("flags/c", b"c")
        assert n_synced == 2
    assert n_synced == 3

    with store.batch():
        store.delete("flags/c")
        store.delete("flags/c")
    assert n_synced == 4

    store.write("flags/b", b"b")
    store.delete("flags/b")
    assert n_synced == 4


def test_missing_root_is_made(tmp_path: Path) -> None:
    """Its missing parents are made too, and the store can be used."""
    store = LocalFolder(tmp_path / "new/deeper")
    store.prepare(["records"])

    with store.lock("CN"), store.lock("AD"):
        store.write("records/CN.json", b"{}")

    assert store.names("records") == ["CN.json"]
    store.close()


def test_store_without_permission_is_named(store: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other error of the system is passed on, and `CheckedStore` translates it."""

    def refuse(*_args: object, **_options: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(UnusableFileError, match="cannot use flags/a in the store: Permission denied"):
        CheckedStore(store).read("flags/a")


def test_path_that_leaves_the_root_is_refused(store: LocalFolder) -> None:
    """Neither an absolute path nor `..` is accepted."""
    for path in ("/etc/passwd", "flags/../../x", "flags/.."):
        with pytest.raises(SinkError, match="leads out of the store"):
            store.exists(path)


def test_checked_store_passes_calls_on(store: LocalFolder) -> None:
    """Without an error it does what its store does."""
    checked = CheckedStore(store)

    with checked.lock("CN", "records/CN.json"):
        checked.delete("flags/a")

    assert not checked.exists("flags/a")
