"""The command line, or one save, in a process of its own that dies by SIGKILL at a point that a test chooses."""

import asyncio
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import sqlalchemy
from dagster import DagsterInstance

from flag_pipeline.core.countries import iso_country
from flag_pipeline.core.sink import FileSink
from flag_pipeline.dagster_storage.pruning import plan_pruning, prune
from flag_pipeline_tests.samples import flag, gif, picture, record

# What is about to change the store or the event log, or has just been read from them: the points to die at.
EVENTS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.scandir", "fcntl.lockf", "sqlite3.connect"})

# How a process ends that opens a file of the store for writing under the name by which it is read: it might be killed
# in the middle, however short that is.
WRITTEN_IN_PLACE = 77

_FORKING = multiprocessing.get_context("forkserver")
# The imports take most of a process's time: they are done once, and each child starts from there.
_FORKING.set_forkserver_preload(
    [
        "flag_pipeline.cli.runs",
        "flag_pipeline.cli.app",
        "dagster_shared",
        "flag_pipeline.core.mirror",
        "flag_pipeline_tests.crashing",
    ]
)


def start(
    arguments: Sequence[str], environment: Mapping[str, str], *, die_at: int = 0, seen: Any = None
) -> BaseProcess:
    """Start `flag-pipeline` with *arguments*; it kills itself just before event number *die_at*, if that is not 0.

    *seen* is a shared integer that counts the events.
    """
    process = _FORKING.Process(target=_run, args=(list(arguments), dict(environment), die_at, seen))
    process.start()
    return process


NEW_FLAG = picture("GIF", size=(300, 200))
OLD, NEW = record(name="Old"), record(name="New one", image=flag(NEW_FLAG))
assert OLD.image is not None
# As version 0.1.0 wrote it, with a space in its name.
OLD = replace(OLD, image=replace(OLD.image, file="flags/CN-Old one.gif"))


async def save_old(root: str) -> None:
    """Save a country as it was."""
    async with FileSink(root) as sink:
        await sink.save(OLD, image=flag(), country=OLD.country)


async def save_new(root: str) -> None:
    """Save it under another name and with another flag, of which the replaced one is kept."""
    async with FileSink(root) as sink:
        await sink.write("history/CN/old.gif", gif("CN"))
        await sink.save(NEW, image=flag(NEW_FLAG), country=replace(iso_country("CN"), name="New one"))


def start_save(root: str, *, die_at: int = 0, seen: Any = None) -> BaseProcess:
    """Start `save_new` on the store at *root*, to die just before event number *die_at*, if that is not 0."""
    process = _FORKING.Process(target=_save, args=(root, die_at, seen))
    process.start()
    return process


def _save(root: str, die_at: int, seen: Any) -> None:
    sys.addaudithook(_Fuse(root, die_at, seen))
    asyncio.run(save_new(root))


def start_prune(home: str, *, die_at: int = 0, seen: Any = None) -> BaseProcess:
    """Start to delete all runs that can be, to die just before SQL statement, commit or deletion number *die_at*."""
    process = _FORKING.Process(target=_prune, args=(home, die_at, seen))
    process.start()
    return process


def _prune(home: str, die_at: int, seen: Any) -> None:
    os.environ["DAGSTER_HOME"] = home
    fuse = _Fuse(home, die_at, seen)

    def on_step(event: str, _arguments: object) -> None:
        if event in {"os.remove", "os.rmdir", "sqlite3.connect"}:
            fuse.burn()

    with DagsterInstance.from_config(home) as instance:
        planned = plan_pruning(instance, datetime.now(UTC))
        sys.addaudithook(on_step)
        for name in ("before_cursor_execute", "commit"):
            sqlalchemy.event.listen(sqlalchemy.Engine, name, lambda *_arguments: fuse.burn())
        prune(instance, planned)


def shared_counter() -> Any:
    """An integer that a child counts in."""
    return _FORKING.Value("i", 0)


def _run(arguments: list[str], environment: dict[str, str], die_at: int, seen: Any) -> None:
    os.environ.update(environment)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.argv = ["flag-pipeline", *arguments]
    from flag_pipeline.cli.app import main

    sys.addaudithook(_Fuse(environment["FLAG_STORE"], die_at, seen))
    main()


class _Fuse:
    """Counts the events that concern *root* or a database, and blows at one of them."""

    def __init__(self, root: str, die_at: int, seen: Any) -> None:
        self._root = root
        self._die_at = die_at
        self._seen = seen
        self._n_seen = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or not (event in {"fcntl.lockf", "sqlite3.connect"} or self._concerns(arguments)):
            return
        if event == "open" and _is_written(*arguments):
            os._exit(WRITTEN_IN_PLACE)
        self.burn()

    def burn(self) -> None:
        """Count an event."""
        self._n_seen += 1
        if self._n_seen == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._seen is not None:
            self._seen.value = self._n_seen

    def _concerns(self, arguments: tuple[object, ...]) -> bool:
        # The store works in open folders, by names alone.
        path = arguments[0] if arguments else None
        return isinstance(path, str) and (path.startswith(self._root) or "/" not in path)


def _is_written(path: object, _mode: object, flags: int) -> bool:
    hidden = os.path.basename(str(path)).startswith(".")  # noqa: PTH119 - an audit hook had better do little
    return not hidden and flags & (os.O_WRONLY | os.O_RDWR) != 0


def install_dagster_home(home: Path) -> None:
    """Give the folder the settings that the checkout's instance has."""
    home.mkdir(parents=True)
    shutil.copy(Path(__file__).parent.parent / "dagster_home/dagster.yaml", home)
