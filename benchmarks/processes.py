"""Processor time and memory of all processes below this one, by role, read from `/proc` while they run."""

import os
import threading
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
INTERVAL_S = 1.0


@dataclass(slots=True)
class Used:
    """What the processes of a role have used.

    Attributes:
        cpu_s: processor time of all of them.
        peak_mb: peak resident memory, in millions of bytes, of the largest.
    """

    cpu_s: float = 0.0
    peak_mb: float = 0.0


@dataclass
class Processes:
    """Reads the processes every second inside the block; misses what a process uses after the last reading.

    Attributes:
        roles: roles by a part of the command line. The first that fits is the role of the process and its children.
    """

    roles: Mapping[str, str]
    _seen: dict[tuple[int, str], tuple[str, Used]] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join()

    def used(self) -> dict[str, Used]:
        """Return what each role has used until now."""
        total: defaultdict[str, Used] = defaultdict(Used)
        for role, used in list(self._seen.values()):
            total[role].cpu_s += used.cpu_s
            total[role].peak_mb = max(total[role].peak_mb, used.peak_mb)
        return dict(total)

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            children = _children_of_all()
            waiting = [(pid, "other") for pid in children[os.getpid()]]
            while waiting:
                pid, role = waiting.pop()
                # A process can end while it is read.
                with suppress(OSError):
                    mine = self._read(Path("/proc", str(pid)), role)
                    waiting += [(child, mine) for child in children[pid]]

    def _read(self, folder: Path, role: str) -> str:
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        mine = next((name for part, name in self.roles.items() if part in command), role)
        stat = _stat(folder)
        cpu_s = (int(stat[11]) + int(stat[12])) / TICKS_PER_S
        self._seen[int(folder.name), stat[19]] = mine, Used(cpu_s, _peak_mb(folder))
        return mine


def _children_of_all() -> defaultdict[int, list[int]]:
    children: defaultdict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            children[int(_stat(folder)[1])].append(int(folder.name))
    return children


def _stat(folder: Path) -> list[str]:
    # From the state on, because the name before it can have spaces: parent, times and start are 1, 11, 12 and 19.
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _peak_mb(folder: Path) -> float:
    lines = (folder / "status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), 0.0)
