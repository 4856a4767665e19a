"""The order of renames and fsyncs of the sink, recorded by strace: what a power cut can undo."""

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.sink import FileSink
from flag_pipeline_tests.samples import flag, gif, record

CODES = iso_codes()[:60]
PROGRAM = "import sys; from flag_pipeline_tests.integration import test_power_cut as t; t.fill_store(sys.argv[1])"
SYSTEM_CALLS = "trace=mkdir,mkdirat,rename,renameat,renameat2,fsync,fdatasync,unlink,unlinkat"


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that succeeded.

    Attributes:
        path: the folder that was made, the new name of a file, or what was synced or deleted.
        started, ended: positions in the order of all starts and ends of all threads.
    """

    name: str
    path: Path
    started: int
    ended: int


def fill_store(root: str) -> None:
    """Save many countries at once, keep a replaced flag, and rename a country."""

    async def fill() -> None:
        async with FileSink(root, threads=2) as sink:
            saves = (sink.save(record(code), image=flag(), country=record(code).country) for code in CODES)
            await asyncio.gather(*saves)
            await sink.write("history/AD/old.gif", gif())
            await sink.save(record("AD", name="Andorra la Vella"), image=flag())

    asyncio.run(fill())


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """The system calls of `fill_store` in another process, in the order in which they ended."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: apt-get install strace")
    folder = tmp_path_factory.mktemp("power")
    trace = folder / "trace"
    tracing = [strace, "-f", "-y", "-s", "4096", "-e", SYSTEM_CALLS, "-e", "signal=none", "-o", str(trace)]
    if subprocess.run([*tracing, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets no process trace another")
    subprocess.run([*tracing, sys.executable, "-c", PROGRAM, str(folder / "new/deeper/store")], check=True)
    return read_trace(trace.read_text().splitlines(), folder)


def read_trace(lines: Iterable[str], below: Path) -> list[Call]:
    """Return the successful calls about paths in a folder; one that another thread interrupts is two lines."""
    started: dict[str, tuple[int, str]] = {}
    calls: list[Call] = []
    for number, line in enumerate(lines):
        process, text = line.split(maxsplit=1)
        if text.endswith("<unfinished ...>"):
            started[process] = number, text.removesuffix("<unfinished ...>")
            continue
        first = number
        if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
            first, beginning = started.pop(process)
            text = beginning + text[resumed.end() :]
        if text.endswith("= 0") and (path := path_of(text)) is not None and below in (path, *path.parents):
            calls.append(Call(text.partition("(")[0], path, first, number))
    return calls


def path_of(text: str) -> Path | None:
    """Return the last path in a call's text: a folder's descriptor and a name in it, a descriptor, or a path."""
    found = re.findall(r'(?:<([^<>]*)>)?(?:, )?(?:"([^"]*)")?', text)
    parts = [(folder, name) for folder, name in found if folder or name]
    return Path(*filter(None, parts[-1])) if parts else None


def renames(calls: Iterable[Call], folder: str) -> list[Call]:
    """The files that were renamed into a folder of the store."""
    return [call for call in calls if call.name.startswith("rename") and call.path.parent.name == folder]


def is_synced(calls: Iterable[Call], path: Path, *, after: Call, before: Call | None = None) -> bool:
    """Whether *path* was synced after the end of one call and before the start of another."""
    return any(
        call.name == "fsync"
        and call.path == path
        and call.started > after.ended
        and (before is None or call.ended < before.started)
        for call in calls
    )


def test_trace_shows_all_that_was_saved(calls: list[Call]) -> None:
    """Many records share one fsync of their folder, so the other tests are about batches too."""
    records = renames(calls, "records")

    assert {call.path.stem for call in records} == set(CODES)
    assert len({call.path.name for call in renames(calls, "flags")}) == len(CODES) + 1
    assert sum(call.name == "fsync" and call.path.name == "records" for call in calls) < len(records)


def test_entry_of_each_new_folder_is_synced_before_it_is_used(calls: list[Call]) -> None:
    """They are the root, its new parents, the folders of the store, and the history of a country."""
    made = [call for call in calls if call.name.startswith("mkdir")]

    assert {call.path.name for call in made} >= {"new", "deeper", "store", "flags", "records", "history", "AD"}
    for folder in made:
        used = [call for call in calls if call.name.startswith("rename") and folder.path in call.path.parents]
        assert is_synced(calls, folder.path.parent, after=folder, before=used[0] if used else None), folder


def test_flag_lasts_before_the_record_that_names_it(calls: list[Call]) -> None:
    """The folder of the flags is synced between the rename of a flag and the rename of its record."""
    flags = {call.path.name: call for call in renames(calls, "flags")}
    records = renames(calls, "records")

    for code in CODES:
        [first, *more] = [call for call in records if call.path.stem == code]
        [old, *new] = sorted(
            (call for name, call in flags.items() if name.startswith(f"{code}-")), key=lambda c: c.ended
        )
        assert len(more) == len(new) == (code == "AD")
        for named, naming in zip([old, *new], [first, *more], strict=True):
            assert is_synced(calls, named.path.parent, after=named, before=naming), code


def test_content_lasts_before_its_name(calls: list[Call]) -> None:
    """Each temporary file is synced, and each folder after its last rename."""
    put = [call for call in calls if call.name.startswith("rename")]
    synced = [call for call in calls if call.name == "fsync" and call.path.name.startswith(".flag-pipeline-")]

    assert len(synced) == len(put)
    for last in {call.path.parent: call for call in put}.values():
        assert is_synced(calls, last.path.parent, after=last)


def test_record_lasts_before_the_renamed_flag_is_deleted(calls: list[Call]) -> None:
    """Until then a power cut may restore the old record, which names the old flag."""
    [deleted] = [call for call in calls if call.name.startswith("unlink")]
    record_of_new = [call for call in renames(calls, "records") if call.path.stem == "AD"][-1]

    assert deleted.path.name == "AD-Andorra.gif"
    assert is_synced(calls, record_of_new.path.parent, after=record_of_new, before=deleted)
