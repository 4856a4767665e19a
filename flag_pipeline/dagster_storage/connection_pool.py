"""The connection pool of the sharded event log.

Opening a SQLite file costs more than writing an event to it. Other processes may write, delete and replace the files.
A forked child opens its own connections.
Source: https://www.sqlite.org/howtocorrupt.html, section 2.6, read 2026-11-23.
"""

import os
import sqlite3
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from flag_pipeline.dagster_storage.packed_events import unpack
from flag_pipeline.dagster_storage.sqlite_files import BUSY_TIMEOUT_S, is_stamped, raising_as_sqlalchemy

__all__ = ["INDEX", "ConnectionPool"]

INDEX = "index"
_MAX_SHARDS = 32
_MAX_IDLE = 4  # per shard
_FORK_TIMEOUT_S = 30.0  # `fork()` waits for active connections
# An event takes about 20 pages. With SQLite's default, 1,000, checkpoints would be a third of its cost.
_CHECKPOINT_PAGES = 8000
_FILE = "flag_pipeline.file"


@dataclass(slots=True, eq=False)
class _Shard:
    """One database file; a writing thread holds its lock."""

    path: Path
    idle: list[Connection] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        # Other threads may take idle connections.
        while (connection := _pop(self.idle)) is not None:
            connection.close()


class ConnectionPool:
    """Connections to the index and the `_MAX_SHARDS` shards used last.

    Attributes:
        base_dir: the folder of the files, `{name}.db` each.
        synchronous: SQLite's setting, NORMAL or FULL.

    """

    def __init__(self, base_dir: Path, *, synchronous: str) -> None:
        self.base_dir = base_dir
        self.synchronous = synchronous
        # One engine, because SQLAlchemy keeps compiled SQL by engine.
        self._engine = create_engine("sqlite://", creator=self._next_opened, poolclass=NullPool)
        self._opened: dict[int, sqlite3.Connection] = {}
        self._start()
        _all_pools.add(self)

    def _start(self) -> None:
        self._shards: OrderedDict[str, _Shard] = OrderedDict()
        self._changed = threading.Condition()
        self._forking = False
        self._reading: set[int] = set()
        # Not thread-local: a forked child must see all connections.
        self._in_use: dict[tuple[int, str], Connection | None] = {}

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let this thread read committed state without the shard's lock."""
        thread = threading.get_ident()
        if thread in self._reading:
            yield
            return
        self._reading.add(thread)
        try:
            yield
        finally:
            self._reading.discard(thread)

    @contextmanager
    def connect(self, name: str, create: Callable[[Path], None]) -> Iterator[Connection]:
        """Give a connection in a transaction; nested calls of a thread share one.

        Outside `reading`, the thread holds the shard's lock. *create* makes a missing file.
        """
        key = (threading.get_ident(), name)
        if (connection := self._in_use.get(key)) is not None:
            yield connection
            return
        shard = self._enter(key)
        with nullcontext() if key[0] in self._reading else shard.lock, raising_as_sqlalchemy():
            healthy = False
            try:
                connection = self._in_use[key] = self._take(shard, create)
                with connection.begin():
                    yield connection
                healthy = True
            finally:
                self._leave(key, shard, healthy=healthy)

    def _enter(self, key: tuple[int, str]) -> _Shard:
        thread, name = key
        with self._changed:
            # Threads with connections go on; others wait for fork().
            self._changed.wait_for(lambda: not self._forking or any(user == thread for user, _ in self._in_use))
            self._in_use[key] = None
            if name not in self._shards:
                self._shards[name] = _Shard(self.base_dir / f"{name}.db")
                if len(self._shards) > _MAX_SHARDS:
                    self._shards.pop(next(other for other in self._shards if other != INDEX)).close()
            self._shards.move_to_end(name)
            return self._shards[name]

    def _leave(self, key: tuple[int, str], shard: _Shard, *, healthy: bool) -> None:
        with self._changed:
            connection = self._in_use.pop(key, None)
            self._changed.notify_all()
            if connection is None:
                return
            if healthy and self._shards.get(key[1]) is shard and len(shard.idle) < _MAX_IDLE:
                shard.idle.append(connection)
            else:
                connection.close()

    def _take(self, shard: _Shard, create: Callable[[Path], None]) -> Connection:
        while (connection := _pop(shard.idle)) is not None:
            if connection.info[_FILE] == _identity(shard.path):
                return connection
            connection.close()  # the file was replaced
        while True:
            identity = _identity(shard.path)
            opened = self.open_file(shard.path)
            has_tables = is_stamped(opened)
            if has_tables and identity is not None and identity == _identity(shard.path):
                self._opened[threading.get_ident()] = opened
                connection = self._engine.connect()
                connection.info[_FILE] = identity
                return connection
            opened.close()
            if not has_tables:
                create(shard.path)

    def _next_opened(self) -> sqlite3.Connection:
        return self._opened.pop(threading.get_ident())

    def open_file(self, path: Path) -> sqlite3.Connection:
        """Open or create the file with the pool's settings."""
        # Threads use it one at a time.
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        connection.text_factory = unpack
        # It applies to new files. A partition's two events seldom share a page of the default size, 4096 bytes.
        connection.execute("PRAGMA page_size=8192")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={self.synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        return connection

    def checkpoint(self, *names: str) -> None:
        """Checkpoint the shards in a thread, because that waits for the disk."""
        # At process exit, closing the file does it.
        with suppress(RuntimeError):
            threading.Thread(target=self._checkpoint, args=names, name="checkpoint-shards").start()

    def _checkpoint(self, *names: str) -> None:
        for name in names:
            key = (threading.get_ident(), name)
            shard = self._enter(key)
            try:
                # mode=rw makes no file: the run may have been deleted.
                with (
                    suppress(sqlite3.Error),
                    closing(sqlite3.connect(f"{shard.path.as_uri()}?mode=rw", uri=True)) as connection,
                ):
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                self._leave(key, shard, healthy=False)

    def close(self) -> None:
        """Close idle connections; others close later."""
        with self._changed:
            while self._shards:
                self._shards.popitem()[1].close()

    def before_fork(self) -> None:
        """Wait for other threads, then close all connections, because a child must inherit none."""
        self._changed.acquire()
        self._forking = True
        me = threading.get_ident()
        self._changed.wait_for(lambda: all(user == me for user, _ in self._in_use), _FORK_TIMEOUT_S)
        self.close()

    def after_fork_in_parent(self) -> None:
        """Resume threads that waited for `fork()`."""
        self._forking = False
        self._changed.notify_all()
        self._changed.release()

    def after_fork_in_child(self) -> None:
        """Start empty. Closing an inherited connection could delete the parent's write-ahead log."""
        _inherited.extend(self._in_use.values())
        self._start()


def _pop(idle: list[Connection]) -> Connection | None:
    try:
        return idle.pop()
    except IndexError:
        return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


_all_pools: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()
_forking: list[ConnectionPool] = []
_fork_lock = threading.Lock()
_inherited: list[Connection | None] = []


def _before_fork() -> None:
    _fork_lock.acquire()
    _forking.extend(_all_pools)
    for pool in _forking:
        pool.before_fork()


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop().after_fork_in_parent()
    _fork_lock.release()


def _after_fork_in_child() -> None:
    while _forking:
        _forking.pop().after_fork_in_child()
    _fork_lock.release()


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
