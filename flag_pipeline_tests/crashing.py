"""The command line in a process of its own that dies by SIGKILL at a point that a test chooses."""

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

# What is about to change the store or the event log, or has just been read from them: the points to die at.
EVENTS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.scandir", "fcntl.lockf", "sqlite3.connect"})

_FORKING = multiprocessing.get_context("forkserver")
# The imports take most of a process's time: they are done once, and each child starts from there.
_FORKING.set_forkserver_preload(
    ["flag_pipeline.launch", "flag_pipeline.cli", "dagster_shared", "flag_pipeline.core.mirror"]
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


def shared_counter() -> Any:
    """An integer that a child counts in."""
    return _FORKING.Value("i", 0)


def _run(arguments: list[str], environment: dict[str, str], die_at: int, seen: Any) -> None:
    os.environ.update(environment)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.argv = ["flag-pipeline", *arguments]
    from flag_pipeline.cli import main

    sys.addaudithook(_Fuse(environment["FLAG_STORE"], die_at, seen))
    main()


class _Fuse:
    """Counts the events that concern *root* or a database, and blows at one of them."""

    def __init__(self, root: str, die_at: int, seen: Any) -> None:
        self._root = root
        self._die_at = die_at
        self._seen = seen
        self._n_seen = 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in EVENTS or not (event in {"fcntl.lockf", "sqlite3.connect"} or self._concerns(arguments)):
            return
        self._n_seen += 1
        if self._n_seen == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._seen is not None:
            self._seen.value = self._n_seen

    def _concerns(self, arguments: tuple[object, ...]) -> bool:
        # The store works in open folders, by names alone.
        path = str(arguments[0]) if arguments else "/"
        return path.startswith(self._root) or not path.startswith("/")


def install_dagster_home(home: Path) -> None:
    """Give the folder the settings that the checkout's instance has."""
    home.mkdir(parents=True)
    shutil.copy(Path(__file__).parent.parent / "dagster_home/dagster.yaml", home)
