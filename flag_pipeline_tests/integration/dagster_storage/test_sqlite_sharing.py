"""Threads, processes and forked children share the embedded event log, and its files may be deleted."""

import gc
import itertools
import multiprocessing
import os
import queue
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
)
from dagster._core.event_api import EventLogCursor
from dagster._core.storage.event_log import SqliteEventLogStorage

from flag_pipeline.dagster_storage.connection_pool import ConnectionPool
from flag_pipeline.dagster_storage.sqlite_event_log import EmbeddedEventLogStorage
from flag_pipeline_tests.event_entries import FLAG, entry, materialization

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

Kind = dg.DagsterEventType
CHECK = dg.AssetCheckKey(FLAG, "is_whole")
TIMEOUT_S = 30.0
N_EVENTS = 15  # a writer
REMOVE = "import pathlib, sys; [file.unlink() for file in pathlib.Path(sys.argv[1]).glob('run-1.db*')]"

# A fresh interpreter for each: what a forked one inherits is a test of its own.
spawn = multiprocessing.get_context("spawn")
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="lists open files through /proc")
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def materialized(run_id: str, code: str) -> dg.EventLogEntry:
    """Make the event of one country's flag."""
    data = materialization(code, version=code, metadata={"size_bytes": 4_096})
    return entry(Kind.ASSET_MATERIALIZATION, data, run_id=run_id)


def codes_of(log: SqliteEventLogStorage, run_id: str) -> list[str | None]:
    """Give the partitions that a run recorded, in order."""
    return [record.partition_key for record in log.get_records_for_run(run_id).records]


def indexed_codes(log: SqliteEventLogStorage) -> list[str | None]:
    """Give the partitions that the index knows as materialized, in order."""
    return [record.partition_key for record in log.fetch_materializations(FLAG, 9_999, ascending=True).records]


def open_files(home: Path) -> list[str]:
    """Give the paths of this process's open files under a folder, deleted ones included."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(link.readlink()))
        except FileNotFoundError:  # the descriptor that listed them
            continue
    return [link for link in links if link.startswith(str(home))]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give the folder of the log."""
    return tmp_path / "events"


@pytest.fixture
def log(home: Path) -> Iterator[EmbeddedEventLogStorage]:
    """Open an empty log."""
    log = EmbeddedEventLogStorage(str(home))
    yield log
    log.dispose()


def write_events(home: Path, class_name: str, writer: str, at_once: "Barrier") -> None:
    """Store events, with the class of that name: to one run that all writers share, and one by its own name."""
    classes: dict[str, type[SqliteEventLogStorage]] = {
        cls.__name__: cls for cls in (EmbeddedEventLogStorage, SqliteEventLogStorage)
    }
    log = classes[class_name](str(home))
    at_once.wait(TIMEOUT_S)
    for n in range(N_EVENTS):
        log.store_event(materialized("shared", f"{writer}-{n:03}"))
        log.store_event(materialized(writer, f"own-{writer}-{n:03}"))
    log.dispose()


def test_processes_write_and_read_at_once(log: EmbeddedEventLogStorage, home: Path) -> None:
    """A process with our class and one with stock's lose nothing, while this one writes and reads too."""
    at_once = spawn.Barrier(3)
    processes = [
        spawn.Process(target=write_events, args=(home, cls.__name__, writer, at_once))
        for writer, cls in {"ours": EmbeddedEventLogStorage, "stock": SqliteEventLogStorage}.items()
    ]

    n_seen = [0]
    for process in processes:
        process.start()
    at_once.wait(TIMEOUT_S)
    for n in range(N_EVENTS):
        log.store_event(materialized("shared", f"here-{n:03}"))
        n_seen.append(len(indexed_codes(log)))
    for process in processes:
        process.join(TIMEOUT_S)

    assert [process.exitcode for process in processes] == [0, 0]
    assert n_seen == sorted(n_seen)
    for writer in ("ours", "stock", "here"):
        shared = [f"{writer}-{n:03}" for n in range(N_EVENTS)]
        own = [f"own-{code}" for code in shared if writer != "here"]
        assert [code for code in codes_of(log, "shared") if code in shared] == shared
        assert [code for code in indexed_codes(log) if code in shared] == shared
        assert codes_of(log, writer) == [code for code in indexed_codes(log) if code in own] == own


def write_until_killed(home: Path, acknowledged: "Connection[str, str]") -> None:
    """Store events for ever, and say which are stored."""
    log = EmbeddedEventLogStorage(str(home))
    for n in itertools.count():
        log.store_event(materialized("killed", str(n)))
        acknowledged.send(str(n))


def test_a_killed_process_loses_nothing_stored(home: Path) -> None:
    """After SIGKILL in the midst of writing, stock finds each acknowledged event, and sound files."""
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=write_until_killed, args=(home, theirs))
    process.start()
    theirs.close()
    acknowledged = [ours.recv() for _ in range(100)]

    process.kill()
    process.join(TIMEOUT_S)
    while ours.poll():
        try:
            acknowledged.append(ours.recv())
        except EOFError:
            break

    log = SqliteEventLogStorage(str(home))
    assert codes_of(log, "killed")[: len(acknowledged)] == acknowledged
    assert indexed_codes(log)[: len(acknowledged)] == acknowledged
    for file in home.glob("*.db"):
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def fork_while_writing(home: Path, report: "Connection[Any, Any]") -> None:
    """Fork children that write, while a thread of the parent writes; report what they inherit and how they end."""
    log = EmbeddedEventLogStorage(str(home))
    n_stored = itertools.count()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            log.store_event(materialized("parent", f"p{next(n_stored)}"))

    thread = threading.Thread(target=write)
    thread.start()
    children = []
    for child in range(6):
        before = next(n_stored)
        log.store_event(materialized("parent", f"p{before}"))
        pid = os.fork()
        if pid == 0:
            inherited = open_files(home)
            log.store_event(materialized("children", f"c{child}"))
            seen = f"p{before}" in codes_of(log, "parent")
            gc.collect()
            os._exit(0 if seen and not inherited else 1)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    stop.set()
    thread.join()
    report.send((codes, next(n_stored)))
    log.dispose()


@needs_fork
@needs_proc
def test_forked_children_open_their_own(home: Path) -> None:
    """A child inherits no open database, reads and writes with its own, and the parent goes on undisturbed."""
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=fork_while_writing, args=(home, theirs))

    process.start()
    exit_codes, n_stored = ours.recv()
    process.join(TIMEOUT_S)

    log = SqliteEventLogStorage(str(home))
    parents = {f"p{n}" for n in range(n_stored)}
    children = {f"c{n}" for n in range(6)}
    assert (process.exitcode, exit_codes) == (0, [0] * 6)
    assert set(codes_of(log, "parent")) == parents
    assert set(codes_of(log, "children")) == children
    assert sorted(filter(None, indexed_codes(log))) == sorted(parents | children)


def test_threads_write_and_read_at_once(log: EmbeddedEventLogStorage) -> None:
    """Threads that write to the same and to different runs, and others that read, lose nothing."""
    at_once = threading.Barrier(8)

    def work(n: int) -> int:
        at_once.wait(TIMEOUT_S)
        if n % 4 == 0:
            return max(len(indexed_codes(log)) for _ in range(20))
        for i in range(20):
            log.store_event(materialized(f"run-{n % 2}", f"{n}-{i}"))
        return 0

    with ThreadPoolExecutor(8) as threads:
        most_seen = max(threads.map(work, range(8)))

    stored = {f"{n}-{i}" for n in range(8) if n % 4 for i in range(20)}
    assert set(codes_of(log, "run-0")) | set(codes_of(log, "run-1")) == stored
    assert len(indexed_codes(log)) == len(stored) >= most_seen


def test_reading_does_not_wait_for_a_writer(log: EmbeddedEventLogStorage) -> None:
    """While one thread holds the index, another reads the last committed state of it."""
    log.store_event(materialized("run-1", "CN"))

    with ThreadPoolExecutor(1) as reader, log.index_connection() as index:
        index.exec_driver_sql("DELETE FROM event_logs")
        codes = reader.submit(indexed_codes, log).result(TIMEOUT_S)

    assert codes == ["CN"]
    assert indexed_codes(log) == []


def test_threads_do_not_claim_the_same_slot(log: EmbeddedEventLogStorage) -> None:
    """As many threads get a slot as there are slots, although more claim one at once."""
    log.set_concurrency_slots("sources", 3)
    at_once = threading.Barrier(8)

    def claim(n: int) -> bool:
        at_once.wait(TIMEOUT_S)
        return bool(log.claim_concurrency_slot("sources", f"run-{n}", "flags").is_claimed)

    with ThreadPoolExecutor(8) as threads:
        n_claimed = sum(threads.map(claim, range(8)))

    assert n_claimed == 3


def delete_files(home: Path, name: str) -> None:
    """Delete a database, as a clean-up from outside does."""
    for file in home.glob(f"{name}.db*"):
        file.unlink()


def test_a_run_deleted_by_another_process_starts_anew(log: EmbeddedEventLogStorage, home: Path) -> None:
    """When a run's files are gone, the run is empty, and all processes see what is stored next."""
    log.store_event(materialized("run-1", "CN"))
    subprocess.run([sys.executable, "-c", REMOVE, str(home)], check=True, timeout=TIMEOUT_S)

    before = codes_of(log, "run-1")
    log.store_event(materialized("run-1", "IN"))

    assert before == []
    assert codes_of(log, "run-1") == codes_of(SqliteEventLogStorage(str(home)), "run-1") == ["IN"]


def test_a_run_replaced_by_dagsters_class_is_read_again(log: EmbeddedEventLogStorage, home: Path) -> None:
    """After stock wiped the log and stored again, the new file is read and written, not the deleted one."""
    log.store_event(materialized("run-1", "CN"))
    stock = SqliteEventLogStorage(str(home))
    stock.wipe()
    stock.store_event(materialized("run-1", "IN"))

    before = codes_of(log, "run-1")
    log.store_event(materialized("run-1", "BR"))

    assert before == ["IN"]
    assert codes_of(stock, "run-1") == indexed_codes(log) == ["IN", "BR"]


def test_a_lost_index_is_made_anew(log: EmbeddedEventLogStorage, home: Path) -> None:
    """After the index was deleted too, events are stored in a new one with the same schema."""
    log.store_event(materialized("run-1", "CN"))
    stamp = log.alembic_version()
    delete_files(home, "index")

    log.store_event(materialized("run-1", "IN"))

    assert log.alembic_version() == stamp
    assert (codes_of(log, "run-1"), indexed_codes(log)) == (["CN", "IN"], ["IN"])


@needs_proc
def test_open_files_are_bounded(log: EmbeddedEventLogStorage, home: Path) -> None:
    """A hundred runs, written and read twice, leave a bounded number of files open; disposing leaves none."""
    runs = [f"run-{n}" for n in range(100)]

    for run_id in runs:
        log.store_event(materialized(run_id, run_id))
    codes = [codes_of(log, run_id) for run_id in runs]
    n_open = len(open_files(home))
    log.dispose()

    assert codes == [[run_id] for run_id in runs]
    assert n_open <= 110
    assert open_files(home) == []
    assert codes_of(log, "run-7") == ["run-7"]


@needs_proc
def test_a_deleted_file_is_let_go(log: EmbeddedEventLogStorage, home: Path) -> None:
    """A run that was deleted and stored again many times keeps no deleted file open."""
    for n in range(20):
        log.store_event(materialized("run-1", str(n)))
        delete_files(home, "run-1")
    log.store_event(materialized("run-1", "last"))

    assert [link for link in open_files(home) if link.endswith("(deleted)")] == []


@needs_proc
def test_a_forgotten_log_closes_itself(home: Path) -> None:
    """A log that was not disposed of closes its files when it is garbage-collected."""
    log = EmbeddedEventLogStorage(str(home))
    log.store_event(materialized("run-1", "CN"))
    n_open = len(open_files(home))

    del log
    gc.collect()

    assert n_open > 0
    assert open_files(home) == []


def test_a_failing_batch_leaves_nothing(log: EmbeddedEventLogStorage) -> None:
    """When one event of a batch cannot be stored, none is, so that storing them one by one makes no doubles."""
    plan = AssetCheckEvaluationPlanned(asset_key=FLAG, check_name=CHECK.name)
    evaluation = AssetCheckEvaluation(asset_key=FLAG, check_name=CHECK.name, passed=True, metadata={})
    doubled = [
        materialized("run-1", "CN"),
        entry(Kind.ASSET_CHECK_EVALUATION_PLANNED, plan),
        entry(Kind.ASSET_CHECK_EVALUATION_PLANNED, plan),
        entry(Kind.ASSET_CHECK_EVALUATION, evaluation),
    ]

    with pytest.raises(dg.DagsterInvariantViolationError):
        log.store_event_batch(doubled)

    assert (codes_of(log, "run-1"), indexed_codes(log)) == ([], [])
    assert log.get_asset_check_execution_history(CHECK, 10) == []


@pytest.mark.parametrize("watching_class", [SqliteEventLogStorage, EmbeddedEventLogStorage])
def test_watchers_see_events_as_they_come(
    log: EmbeddedEventLogStorage, home: Path, watching_class: type[SqliteEventLogStorage]
) -> None:
    """A watcher, also one of stock's, gets each event of its run after its cursor, once and in order."""
    events = [materialized("run-1", str(n)) for n in range(6)]
    log.store_event_batch(events[:3])
    watching = watching_class(str(home))
    seen: queue.Queue[dg.EventLogEntry] = queue.Queue()
    cursor = EventLogCursor.from_storage_id(2).to_string()
    watching.watch("run-1", cursor, lambda entry, _cursor: seen.put(entry))

    for stored in events[3:]:
        log.store_event(stored)
    got = [seen.get(timeout=TIMEOUT_S) for _ in events[2:]]
    watching.dispose()

    assert got == events[2:]
    assert seen.empty()


def test_an_ended_watch_is_silent(log: EmbeddedEventLogStorage) -> None:
    """After `end_watch` nothing comes, while another watcher of the same run goes on."""
    ended: list[dg.EventLogEntry] = []
    others: queue.Queue[dg.EventLogEntry] = queue.Queue()

    def note(entry: dg.EventLogEntry, _cursor: str) -> None:
        ended.append(entry)

    log.watch("run-1", None, note)
    log.watch("run-1", None, lambda entry, _cursor: others.put(entry))
    log.end_watch("run-1", note)
    for code in ("CN", "IN"):
        log.store_event(materialized("run-1", code))
        others.get(timeout=TIMEOUT_S)

    assert ended == []


def checkpointed() -> None:
    """Wait for the threads that checkpoint the shards."""
    for thread in threading.enumerate():
        if thread.name == "checkpoint-shards":
            thread.join(TIMEOUT_S)


def test_a_run_that_has_ended_is_in_its_file(log: EmbeddedEventLogStorage, home: Path, tmp_path: Path) -> None:
    """The log need not be closed for that, and other processes can read and write during it."""
    for code in ("CN", "IN"):
        log.store_event(materialized("run-1", code))
    log.store_event(entry(Kind.RUN_SUCCESS))

    checkpointed()

    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("run-1", "index"):
        shutil.copy(home / f"{name}.db", alone)
    copied = EmbeddedEventLogStorage(str(alone))
    assert codes_of(copied, "run-1") == ["CN", "IN", None]
    assert indexed_codes(copied) == ["CN", "IN"]
    copied.dispose()
    log.store_event(materialized("run-2", "US"))
    assert indexed_codes(log) == ["CN", "IN", "US"]


def test_checkpoint_makes_no_file_and_ignores_a_damaged_one(home: Path) -> None:
    """A checkpoint makes no file for a deleted run, and ignores a damaged file, which readers report."""
    home.mkdir()
    (home / "damaged.db").write_bytes(b"no database" * 100)
    pool = ConnectionPool(home, synchronous="NORMAL")

    pool.checkpoint("deleted", "damaged")
    checkpointed()

    assert [path.name for path in home.iterdir()] == ["damaged.db"]


def test_an_end_is_stored_where_no_thread_is_to_be_had(
    log: EmbeddedEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread can be started at the end of a process; the event is stored then, without an error."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    log.store_event(entry(Kind.RUN_SUCCESS))

    assert len(log.get_logs_for_run("run-1")) == 1


def configured(home: Path, synchronous: str) -> dict[str, Any]:
    """Give the block of `dagster.yaml` that chooses the log."""
    config = {"base_dir": str(home), "synchronous": synchronous}
    block = {
        "module": "flag_pipeline.dagster_storage.sqlite_event_log",
        "class": "EmbeddedEventLogStorage",
        "config": config,
    }
    return {"event_log_storage": block}


@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
def test_synchronous_is_set_in_the_configuration(home: Path, synchronous: str, level: int) -> None:
    """`synchronous` reaches SQLite for the index and for runs, in write-ahead mode."""
    overrides = configured(home, synchronous)

    with dg.instance_for_test(overrides, set_dagster_home=False) as instance:
        log = instance.event_log_storage
        assert isinstance(log, EmbeddedEventLogStorage)
        for connection in (log.index_connection(), log.run_connection("run-1")):
            with connection as db:
                assert db.exec_driver_sql("PRAGMA synchronous").scalar_one() == level
                assert db.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


def test_an_unknown_synchronous_is_refused(home: Path) -> None:
    """`OFF` would risk the files, and is not among the settings."""
    overrides = configured(home, "OFF")

    with (
        pytest.raises(dg.DagsterInvalidConfigError),
        dg.instance_for_test(overrides, set_dagster_home=False) as instance,
    ):
        assert instance.event_log_storage
