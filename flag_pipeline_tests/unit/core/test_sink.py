"""The sink on a local folder: links, locks, full disks. integration/test_sink_on_stores.py is for all stores."""

import asyncio
import errno
import json
import os
import socket
import stat
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from flag_pipeline.core.layout import MAX_NAME_BYTES, THUMBNAILS, flag_path, record_path, thumbnail_path
from flag_pipeline.core.models import Country, FlagRecord, LastFailure
from flag_pipeline.core.records import dump_record
from flag_pipeline.core.sink import FileSink, StoredCountry
from flag_pipeline.errors import ErrorKind, SinkError
from flag_pipeline.stores.atomic_files import ASIDE_PREFIX, STALE_TEMPORARY_S, TEMPORARY_PREFIX
from flag_pipeline_tests.records import change_of
from flag_pipeline_tests.samples import flag, gif, record


def files_in(root: Path) -> set[str]:
    """The visible files below *root*."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name[0] != "."}


def temporaries_in(root: Path) -> list[Path]:
    """What a save writes to before it is whole."""
    return list(root.rglob(f"{TEMPORARY_PREFIX}*"))


def found_below(root: Path, name: str) -> list[Path]:
    """Where files of that name are, at any depth and in hidden folders too."""
    return list(root.rglob(name))


def known_country(known: FlagRecord) -> Country:
    """The country of a record that has one."""
    assert known.country is not None
    return known.country


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("China", "flags/CN-China.gif"),
        ("Côte d'Ivoire", "flags/CN-Côte_d'Ivoire.gif"),
        ('a<b>c:d"e|f?g*h', "flags/CN-a_b_c_d_e_f_g_h.gif"),
        ("../../x", "flags/CN-.._.._x.gif"),
        ("a\\b\x00\x1f", "flags/CN-a_b__.gif"),
        ("trailing. .", "flags/CN-trailing.gif"),
        ("", "flags/CN-.gif"),
    ],
)
def test_file_name_is_safe_everywhere(name: str, file: str) -> None:
    """A space, and what some file system forbids, becomes an underscore."""
    assert flag_path("CN", name, "gif") == file


def test_long_name_is_cut_between_characters() -> None:
    """The cut is never inside the bytes of a character."""
    stem = flag_path("CN", "中" * 100, "jpeg").removeprefix("flags/CN-").removesuffix(".jpg")

    assert stem == "中" * (MAX_NAME_BYTES // 3)


async def test_same_content_is_not_rewritten(sink: FileSink, tmp_path: Path) -> None:
    """Inode and time of the file stay; other content replaces it."""
    await sink.write("catalog/a", b"one")
    before = (tmp_path / "catalog/a").stat()

    await sink.write("catalog/a", b"one")
    same = (tmp_path / "catalog/a").stat()
    await sink.write("catalog/a", b"two")

    assert (same.st_ino, same.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (tmp_path / "catalog/a").read_bytes() == b"two"


async def test_files_of_a_deeper_folder_are_written_and_listed(sink: FileSink, tmp_path: Path) -> None:
    """The folder is made when the store is opened; others are made for their first file."""
    files = {thumbnail_path(letter * 64): letter.encode() for letter in "abcdef"} | {"catalog/details/0.js": b"x"}

    assert await sink.names(THUMBNAILS) == []
    await sink.write_files(files)

    assert {path: (tmp_path / path).read_bytes() for path in files} == files
    assert sorted(await sink.names(THUMBNAILS)) == [f"{letter * 64}.webp" for letter in "abcdef"]
    assert await sink.names("catalog/none") == []


async def test_name_that_changes_only_in_case_keeps_its_file(sink: FileSink, tmp_path: Path) -> None:
    """Where case does not count, both names are one file: removing the old one would remove the flag."""
    await sink.save(record(name="CHINA"), image=flag())
    os.link(tmp_path / "flags/CN-CHINA.gif", tmp_path / "flags/CN-China.gif")

    await sink.save(record(), image=flag())

    assert await sink.read("flags/CN-China.gif") == gif()
    assert (tmp_path / "flags/CN-CHINA.gif").samefile(tmp_path / "flags/CN-China.gif")


async def test_linked_folder_outside_is_refused(tmp_path: Path) -> None:
    """A symbolic link in place of a folder would let everything out."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store/flags").symlink_to(tmp_path / "outside")

    with pytest.raises(SinkError, match="through a symbolic link"):
        async with FileSink(str(tmp_path / "store")):
            pass

    assert files_in(tmp_path / "outside") == set()


async def test_folder_that_becomes_a_link_is_refused(sink: FileSink, tmp_path: Path) -> None:
    """A link below a folder that the sink keeps open is refused, too."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "history/CN").symlink_to(tmp_path / "outside")

    with pytest.raises(SinkError, match="through a symbolic link"):
        await sink.write("history/CN/a", b"x")
    with pytest.raises(SinkError, match="through a symbolic link"):
        await sink.read("history/CN/a")

    assert files_in(tmp_path / "outside") == set()


async def test_linked_file_is_replaced_and_never_followed(sink: FileSink, tmp_path: Path) -> None:
    """What the link led to is neither read nor written."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"secret")
    (tmp_path / "catalog/a").symlink_to(precious)

    assert await sink.read("catalog/a") is None
    await sink.write("catalog/a", b"secret")
    await sink.write("catalog/a", b"public")

    assert precious.read_bytes() == b"secret"
    assert not (tmp_path / "catalog/a").is_symlink()


async def test_linked_root_is_the_users_choice(tmp_path: Path) -> None:
    """The store itself may be a link to another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")

    async with FileSink(str(tmp_path / "store")) as sink:
        await sink.save(record(), image=flag())

    assert "flags/CN-China.gif" in files_in(tmp_path / "disk")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("part", ["flags/FR-", "metadata/FR", "records/FR"])
async def test_refused_file_costs_one_country(
    sink: FileSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, part: str
) -> None:
    """A full disk or a missing permission fails the country in hand; no temporary is left, the others go on."""
    replace_on_disk, (folder, name) = os.replace, part.split("/")

    def refuse(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if f"{folder}/{name}" == f"{Path(f'/proc/self/fd/{dst_dir_fd}').readlink().name}/{target}"[: len(part)]:
            raise OSError(number, os.strerror(number))
        replace_on_disk(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "replace", refuse)

    with pytest.raises(SinkError, match=os.strerror(number)) as caught:
        await sink.save(record("FR"), image=flag(), country=record("FR").country)
    await sink.save(record(), image=flag())

    assert caught.value.path.startswith(part)
    assert set(await sink.records()) == {"CN"}
    assert temporaries_in(tmp_path) == []


async def test_save_without_a_caller_and_a_failure_take_turns(
    sink: FileSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The miss of a country that was given up while it was saved finds the record whole, not the one before."""
    await sink.save(record(name="Cathay"), image=flag())
    replace_on_disk, saving, noting = os.replace, threading.Event(), threading.Event()

    def slowly(source: str, target: str, **folders: int) -> None:
        if target == "CN.json" and not saving.is_set():
            saving.set()
            # In vain: nothing is noted before this is done.
            noting.wait(0.2)
        elif target == "CN.json":
            noting.set()
        replace_on_disk(source, target, **folders)

    monkeypatch.setattr(os, "replace", slowly)
    task = asyncio.create_task(sink.save(record(), image=flag()))
    await asyncio.to_thread(saving.wait)
    task.cancel()
    failure = LastFailure(ErrorKind.TIMEOUT, "slow")

    assert await sink.record_failure("CN", failure)

    assert (await sink.records()).get("CN") == replace(record(), last_failure=failure)
    assert files_in(tmp_path) == {"flags/CN-China.gif", "records/CN.json"}


@pytest.mark.parametrize("path", ["flags/CN-China.gif", "metadata/CN.json", "records/CN.json", "catalog/catalog.json"])
async def test_folder_in_place_of_a_file_is_moved_aside(
    sink: FileSink, tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """It cannot be read, and that is a SinkError; the file that is saved takes its place, and what it held is kept."""
    (tmp_path / path / "deeper").mkdir(parents=True)
    (tmp_path / path / "deeper/precious").write_bytes(b"x")

    with pytest.raises(SinkError, match="Is a directory; the next fetch replaces it"):
        await sink.read(path)
    await sink.save(record(), image=flag(), country=record().country)
    await sink.write("catalog/catalog.json", b"[]")

    assert (tmp_path / path).is_file()
    [aside] = found_below(tmp_path, "precious")
    assert aside.relative_to((tmp_path / path).parent).parts[0].startswith(ASIDE_PREFIX)
    assert f"{path} was a folder; it is {ASIDE_PREFIX}" in caplog.text


async def test_folder_among_files_to_be_dropped_stays(sink: FileSink, tmp_path: Path) -> None:
    """Only files are deleted, and a folder between them fails nothing."""
    (tmp_path / "history/CN/folder").mkdir(parents=True)
    (tmp_path / "history/CN/a.gif").write_bytes(b"x")

    await sink.keep_only("history/CN", [])

    assert [path.name for path in (tmp_path / "history/CN").iterdir()] == ["folder"]


def occupy(path: Path, kind: str) -> None:
    """Put something in the place of a file that is no file of ours."""
    path.unlink(missing_ok=True)
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(path))
        case "3 GB":
            path.touch()
            os.truncate(path, 3 * 2**30)
        case "link to a device":
            path.symlink_to("/dev/zero")


OCCUPANTS = ["folder", "pipe", "socket", "3 GB", "link to a device"]


@pytest.mark.parametrize("kind", OCCUPANTS)
@pytest.mark.parametrize("path", ["flags/CN-China.gif", "metadata/CN.json", "records/CN.json"])
async def test_what_is_no_file_of_ours_counts_as_none_and_is_replaced(tmp_path: Path, kind: str, path: str) -> None:
    """To load the country neither waits nor reads it, and to save the country puts the file in its place."""
    async with FileSink(str(tmp_path)) as sink:
        await sink.save(record(), image=flag(), country=record().country)
    occupy(tmp_path / path, kind)

    async with FileSink(str(tmp_path)) as sink:
        stored = await sink.load("CN")
        await sink.save(record(), image=flag(), country=record().country)

        assert (stored.record.image is None, stored.flag is None, stored.metadata_is_intact) == {
            "flags": (False, True, True),
            "metadata": (False, False, False),
            "records": (True, True, False),
        }[path.partition("/")[0]]
        assert await sink.load("CN") == StoredCountry(record(), gif(), metadata_is_intact=True)
    assert files_in(tmp_path) >= {"flags/CN-China.gif", "metadata/CN.json", "records/CN.json"}


@pytest.mark.parametrize("kind", OCCUPANTS)
async def test_failure_is_recorded_whatever_is_in_the_records_place(sink: FileSink, tmp_path: Path, kind: str) -> None:
    """The reason of a country that fails is not lost because its record is no file."""
    occupy(tmp_path / "records/CN.json", kind)
    failure = LastFailure(ErrorKind.TIMEOUT, "slow")

    assert await sink.record_failure("CN", failure)

    assert await sink.records() == {"CN": FlagRecord("CN", last_failure=failure)}


async def test_record_that_cannot_be_read_costs_one_row(sink: FileSink, tmp_path: Path) -> None:
    """A folder or 3 GB in a record's place gives an empty record that says why; the name of no country gives none."""
    await sink.save(record(), image=flag())
    for name, kind in {"FR.json": "folder", "DE.json": "3 GB", "no code.json": "folder", "BR.json": "pipe"}.items():
        occupy(tmp_path / "records" / name, kind)

    found = await sink.records()

    assert {code: known.last_failure and known.last_failure.reason for code, known in found.items()} == {
        "CN": None,
        "DE": "cannot use records/DE.json in the store: more than 4,194,304 bytes; the next fetch replaces it",
        "FR": "cannot use records/FR.json in the store: Is a directory; the next fetch replaces it",
    }


async def test_file_that_cannot_be_read_is_no_hint(sink: FileSink, tmp_path: Path) -> None:
    """What only saves work is None where it cannot be read, and why can be asked for."""
    occupy(tmp_path / "catalog/catalog.json", "folder")
    occupy(tmp_path / "history/changes.json", "3 GB")
    await sink.write("catalog/a", b"x")

    assert [await sink.read_hint(path) for path in ("catalog/catalog.json", "history/changes.json", "catalog/a")] == [
        None,
        None,
        b"x",
    ]
    assert "more than 67,108,864 bytes" in await sink.why_unusable("history/changes.json")
    assert await sink.why_unusable("catalog/a") == await sink.why_unusable("catalog/none") == ""


async def test_device_is_not_read(sink: FileSink, tmp_path: Path) -> None:
    """A device in a file's place, which only root can make, counts as no file."""
    try:
        os.mknod(tmp_path / "catalog/a", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this user cannot make a device")

    assert await sink.read("catalog/a") is None


async def test_flag_that_has_grown_is_not_read_to_its_end(sink: FileSink, tmp_path: Path) -> None:
    """One byte more than the record tells of is enough to know that it is another file."""
    await sink.save(record(), image=flag())
    (tmp_path / "flags/CN-China.gif").write_bytes(gif() + b"\0")

    assert (await sink.load("CN")).flag is None


async def test_store_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(SinkError, match=r"cannot use .+file"):
        async with FileSink(str(tmp_path / "file")):
            pass


async def test_stale_temporaries_are_swept_at_any_depth_but_not_through_links(tmp_path: Path) -> None:
    """Files in a replaced flag's folder are deleted, but not the target of a link."""
    history, elsewhere = tmp_path / "store" / "history" / "CN", tmp_path / "elsewhere"
    long_ago = time.time() - STALE_TEMPORARY_S - 60
    for folder in (history, elsewhere):
        folder.mkdir(parents=True)
        (folder / f"{TEMPORARY_PREFIX}old").write_bytes(b"half")
        os.utime(folder / f"{TEMPORARY_PREFIX}old", (long_ago, long_ago))
    (history.parent / "FR").symlink_to(elsewhere)

    async with FileSink(str(tmp_path / "store")):
        pass

    assert list(history.iterdir()) == []
    assert [path.name for path in elsewhere.iterdir()] == [f"{TEMPORARY_PREFIX}old"]


async def test_only_old_temporaries_of_our_own_are_swept(tmp_path: Path) -> None:
    """A young one may be in use, a folder or another's file is none of our business."""
    flags = tmp_path / "flags"
    (flags / f"{TEMPORARY_PREFIX}folder").mkdir(parents=True)
    for name in (f"{TEMPORARY_PREFIX}old", f"{TEMPORARY_PREFIX}young", "other.tmp"):
        (flags / name).write_bytes(b"")
    long_ago = time.time() - STALE_TEMPORARY_S - 60
    for name in (f"{TEMPORARY_PREFIX}old", f"{TEMPORARY_PREFIX}folder", "other.tmp"):
        os.utime(flags / name, (long_ago, long_ago))

    async with FileSink(str(tmp_path)):
        pass

    assert {path.name for path in flags.iterdir()} == {
        f"{TEMPORARY_PREFIX}folder",
        f"{TEMPORARY_PREFIX}young",
        "other.tmp",
    }


async def test_object_store_holds_the_same_files() -> None:
    """A URL of universal-pathlib gets one put for each file, and the old file of a renamed flag is deleted."""
    root = f"memory://{uuid.uuid4().hex}"
    async with FileSink(root) as sink:
        await sink.save(record(name="Cathay"), image=flag())
        await sink.save(record(), image=flag(), country=record().country)

    async with FileSink(root) as sink:
        assert (await sink.records()).get("CN") == record()
        assert await sink.read("flags/CN-China.gif") == gif()
        assert await sink.read("flags/CN-Cathay.gif") is None
        assert not sink.has_orphaned_files(record())
        with pytest.raises(SinkError, match="leads out of the store"):
            await sink.write("../x", b"x")
        with pytest.raises(SinkError, match="has disappeared"):
            await sink.save(record(name="Cathay"))
    assert sorted(path.name for path in UPath(f"{root}/flags").iterdir()) == ["CN-China.gif"]


async def test_file_url_is_a_local_folder(tmp_path: Path) -> None:
    """It is written in one step like any other."""
    async with FileSink(tmp_path.as_uri()) as sink:
        await sink.save(record(), image=flag())

    assert (tmp_path / record_path("CN")).read_bytes() == dump_record(record())


async def test_folder_that_cannot_be_synced_fails_the_save_and_frees_the_country(
    sink: FileSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record names files that may not be durable; the next save succeeds."""
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        with pytest.raises(SinkError, match="Input/output error"):
            await sink.save(record(), image=flag())
    assert await sink.records() == {}

    await sink.save(record(), image=flag())

    assert await sink.records() == {"CN": record()}


async def test_changes_of_one_country_in_a_batch_keep_their_order(tmp_path: Path) -> None:
    """The last one wins, as if they had come one at a time."""
    failure = LastFailure(ErrorKind.TIMEOUT, "slow")
    async with FileSink(str(tmp_path), threads=1) as sink:
        await asyncio.gather(
            sink.save(record("FR"), image=flag()),
            *(sink.save(record(name=f"Name {number}"), image=flag()) for number in range(40)),
            sink.record_failure("FR", failure),
        )

        assert await sink.records() == {
            "CN": record(name="Name 39"),
            "FR": replace(record("FR"), last_failure=failure),
        }
    assert len(files_in(tmp_path / "flags")) == 2


async def test_only_records_with_changes_are_parsed_for_the_history(sink: FileSink, tmp_path: Path) -> None:
    """A record in another layout is read too."""
    changed = replace(record("FR"), changes=(change_of("FR"),))
    older = replace(record("IT"), changes=(change_of("IT"),))
    for each in (record("CN"), changed):
        await sink.save(each, image=flag())
    compact = json.dumps({"schema": 1, **json.loads(dump_record(older))}).encode()
    (tmp_path / record_path("IT")).write_bytes(compact)

    assert await sink.records(only_changed=True) == {"FR": changed, "IT": older}
    assert list(await sink.records()) == ["CN", "FR", "IT"]
