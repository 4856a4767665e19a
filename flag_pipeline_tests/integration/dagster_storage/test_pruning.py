"""Old runs are deleted from real instances, on Dagster's SQLite storages and on ours, and no status changes."""

import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.loader import LoadingContextForTest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from flag_pipeline.dagster_storage.pruning import UnsupportedStorageError, plan_pruning, prune
from flag_pipeline.dagster_storage.sqlite_event_log import EmbeddedEventLogStorage
from flag_pipeline.dagster_storage.sqlite_space import reclaim
from flag_pipeline.settings import project_root
from flag_pipeline_tests.past_runs import (
    CHECK,
    FLAG,
    LETTERS,
    NAME,
    Status,
    check_planned,
    checked,
    days_ago,
    event_files,
    materialized,
    observed,
    planned,
    record_run,
    run_id,
    run_ids,
)
from flag_pipeline_tests.pruned import partition_statuses

STORAGES = {"ours": (project_root() / "dagster_home/dagster.yaml").read_text(), "dagster's": ""}
UNFINISHED = [Status.QUEUED, Status.NOT_STARTED, Status.STARTING, Status.STARTED, Status.CANCELING]

# A queued run has it.
ORIGIN = RemoteJobOrigin(
    RemoteRepositoryOrigin(
        ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="sweeps"), "sweeps"), "__repository__"
    ),
    "sweep",
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=STORAGES)
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of an instance with either kind of storages."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(STORAGES[request.param])
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def random_history(instance: dg.DagsterInstance, chance: random.Random, *, n_runs: int) -> None:
    """Record runs over some partitions each, which end in every way; the first is the oldest."""
    for number in range(1, n_runs + 1):
        events = []
        for asset in (NAME, FLAG):
            chosen = sorted(chance.sample(LETTERS.get_partition_keys(), chance.randint(1, 3)))
            events += [planned(letter, asset) for letter in chosen]
            outcomes = [chance.choice([materialized, observed, None]) for _ in chosen]
            events += [record(letter, asset) for letter, record in zip(chosen, outcomes, strict=True) if record]
        if chance.random() < 0.3:
            events += [check_planned(), *([checked()] if chance.random() < 0.5 else [])]
        if chance.random() < 0.2:
            events += [materialized(None, dg.AssetKey("catalog"))]
        status = chance.choice([Status.SUCCESS, Status.FAILURE, Status.CANCELED])
        record_run(instance, number, events, days=2 * n_runs - number, status=status)


def latest_of_each(instance: dg.DagsterInstance) -> dict[tuple[str, dg.AssetKey, str | None], tuple[str, int]]:
    """Return the run and the storage id of the latest event of each type of each partition, asked for one by one."""
    storage, catalog = instance.event_log_storage, dg.AssetKey("catalog")
    every = [(asset, letter) for asset in (NAME, FLAG) for letter in LETTERS.get_partition_keys()]
    found = {}
    for asset, letter in [*every, (catalog, None)]:
        wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[letter] if letter else None)
        for record in instance.fetch_materializations(wanted, limit=1).records:
            found["materialization", asset, letter] = record.run_id, record.storage_id
        for record in instance.fetch_observations(wanted, limit=1).records:
            found["observation", asset, letter] = record.run_id, record.storage_id
        if plan := storage.get_latest_planned_materialization_info(asset, letter):
            found["plan", asset, letter] = plan.run_id, plan.storage_id
    history = storage.get_asset_check_execution_history(dg.AssetCheckKey(FLAG, CHECK), limit=999)
    evaluated = [check for check in history if check.status is not AssetCheckExecutionRecordStatus.PLANNED]
    for check in [*history[:1], *evaluated[:1]]:
        found["check", FLAG, check.status.value] = check.run_id, check.id
    return found


@pytest.mark.parametrize("seed", range(2))
def test_what_decides_a_status_is_kept_and_all_else_is_deleted(instance: dg.DagsterInstance, seed: int) -> None:
    """Exactly the runs with a latest event and the newest run are left of a random history."""
    random_history(instance, random.Random(seed), n_runs=12)  # noqa: S311 - repeatable, not secret
    latest = latest_of_each(instance)
    needed = {run for run, _ in latest.values()} | {run_id(12)}
    assets = {NAME: LETTERS, FLAG: LETTERS}
    before = partition_statuses(instance, assets)

    report = prune(instance, plan_pruning(instance, datetime.now(UTC)))

    assert set(run_ids(instance)) == needed
    assert report.n_runs == 12 - len(needed) > 0
    assert latest_of_each(instance) == latest
    assert partition_statuses(instance, assets) == before
    assert not plan_pruning(instance, datetime.now(UTC)).run_ids


def test_only_runs_that_ended_before_are_deleted(instance: dg.DagsterInstance) -> None:
    """The age of a run is the time since it ended."""
    for number, days in enumerate((9, 8, 6, 1), start=1):
        record_run(instance, number, [planned("a"), materialized("a")], days=days)

    prune(instance, plan_pruning(instance, days_ago(7)))

    assert run_ids(instance) == [run_id(3), run_id(4)]


@pytest.mark.parametrize("status", UNFINISHED)
def test_a_run_that_has_not_ended_is_kept(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> None:
    """However old it is, and although others have materialized its partition since."""
    record_run(instance, 1, [planned("a")], days=99, status=status, remote_job_origin=ORIGIN)
    record_run(instance, 2, [planned("a"), materialized("a")], days=98)
    record_run(instance, 3, [planned("a"), materialized("a")], days=97)

    prune(instance, plan_pruning(instance, days_ago(7)))

    assert run_ids(instance) == [run_id(1), run_id(3)]


def test_what_a_kept_run_re_executes_is_kept(instance: dg.DagsterInstance) -> None:
    """The UI shows a run with its group, and a re-execution asks what its ancestors delivered."""
    record_run(instance, 1, [materialized("a")], days=99)
    record_run(instance, 2, [materialized("a")], days=98)
    record_run(instance, 3, [materialized("a")], days=97, parent_run_id=run_id(1), tags=lineage(1, 1))
    record_run(instance, 4, [materialized("a")], days=96, parent_run_id=run_id(3), tags=lineage(3, 1))
    record_run(instance, 5, [materialized("b")], days=95)

    prune(instance, plan_pruning(instance, days_ago(7)))

    assert run_ids(instance) == [run_id(1), run_id(3), run_id(4), run_id(5)]
    assert instance.get_run_group(run_id(4)) is not None


def lineage(parent: int, root: int) -> dict[str, str]:
    """Return the tags of a re-execution."""
    return {"dagster/parent_run_id": run_id(parent), "dagster/root_run_id": run_id(root)}


def test_backfills_that_have_ended_go_with_their_runs(instance: dg.DagsterInstance) -> None:
    """A backfill that goes on counts its runs, so these are kept."""
    for number, status in enumerate((BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.REQUESTED), start=1):
        tags = {"dagster/backfill": f"backfill {number}"}
        backfill = PartitionBackfill(
            backfill_id=f"backfill {number}",
            status=status,
            from_failure=False,
            tags=tags,
            backfill_timestamp=days_ago(99).timestamp(),
            asset_selection=[FLAG],
        )
        instance.add_backfill(backfill)
        record_run(instance, number, [materialized("a")], days=98, tags=tags)
    record_run(instance, 3, [materialized("a")], days=1)

    report = prune(instance, plan_pruning(instance, days_ago(7)))

    assert run_ids(instance) == [run_id(2), run_id(3)]
    assert [backfill.backfill_id for backfill in instance.get_backfills()] == ["backfill 2"]
    assert report.n_backfills == 1


def test_no_partition_becomes_stale(instance: dg.DagsterInstance) -> None:
    """The upstream event that a partition was made from is kept, because Dagster compares its data version."""
    one = dg.StaticPartitionsDefinition(["a"])

    @dg.asset(partitions_def=one)
    def upstream() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(data_version=dg.DataVersion("1"))

    @dg.asset(partitions_def=one, deps=[upstream])
    def downstream() -> None: ...

    @dg.asset(deps=[upstream])
    def catalog() -> None: ...

    assets: list[Any] = [upstream, downstream, catalog]

    def stale() -> list[StaleStatus]:
        graph = dg.Definitions(assets).get_repository_def().asset_graph
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        return [resolver.get_status(downstream.key, "a"), resolver.get_status(catalog.key)]

    first = dg.materialize(assets, instance=instance, selection=[upstream], partition_key="a")
    dg.materialize(assets, instance=instance, selection=[downstream], partition_key="a")
    dg.materialize(assets, instance=instance, selection=[catalog])
    second = dg.materialize(assets, instance=instance, selection=[upstream], partition_key="a")
    dg.materialize(assets, instance=instance, selection=[upstream], partition_key="a")
    assert stale() == [StaleStatus.FRESH, StaleStatus.FRESH]

    prune(instance, plan_pruning(instance, datetime.now(UTC)))

    assert first.run_id in run_ids(instance)
    assert second.run_id not in run_ids(instance)
    assert stale() == [StaleStatus.FRESH, StaleStatus.FRESH]


def test_files_and_free_pages_are_given_back(instance: dg.DagsterInstance, home: Path) -> None:
    """The databases of deleted runs are gone with their compute logs, and the one that all share is small."""
    for number in range(1, 6):
        record_run(instance, number, [materialized("a", padding=600_000)], days=20 - number)
        logs = home / "storage" / run_id(number) / "compute_logs"
        logs.mkdir(parents=True)
        (logs / "step.out").write_text("text")
    orphan = run_id(77)
    record_run(instance, 77, [observed("a")], days=1)
    instance.run_storage.delete_run(orphan)
    other = home / "history/runs/notes.db"
    other.write_text("not a run's")

    report = prune(instance, plan_pruning(instance, datetime.now(UTC)))

    assert event_files(home) == {run_id(5)}
    assert {path.name for path in (home / "storage").iterdir()} == {run_id(5)}
    assert other.exists()
    assert (home / "history/runs/index.db").stat().st_size < 1_500_000
    assert report.freed_bytes > 3_500_000
    assert report.not_freed == {}
    assert [record.run_id for record in instance.fetch_materializations(FLAG, limit=9).records] == [run_id(5)]


def test_values_of_ops_stay(instance: dg.DagsterInstance, home: Path) -> None:
    """Dagster stores what ops return in the same folder as their logs."""
    record_run(instance, 1, [materialized("a")], days=9)
    record_run(instance, 2, [materialized("a")], days=8)
    value = home / "storage" / run_id(1) / "step/result"
    value.parent.mkdir(parents=True)
    value.write_text("a value")

    prune(instance, plan_pruning(instance, days_ago(7)))

    assert run_ids(instance) == [run_id(2)]
    assert value.exists()


def test_ids_of_events_are_not_used_again(instance: dg.DagsterInstance) -> None:
    """A sensor whose cursor is the last event's id would miss the next one."""
    record_run(instance, 1, [materialized("a")], days=9)
    record_run(instance, 2, [materialized("a")], days=8)
    record_run(instance, 3, [checked()], days=7)
    instance.report_run_failed(instance.get_run_by_id(run_id(1)))  # type: ignore[arg-type]
    record_run(instance, 1_000, [], days=6)
    last = instance.event_log_storage.get_maximum_record_id() or 0

    prune(instance, plan_pruning(instance, datetime.now(UTC)))
    record_run(instance, 4, [materialized("a")])

    (record,) = instance.fetch_materializations(FLAG, limit=1).records
    assert record.storage_id > last


def test_pool_slots_of_deleted_runs_are_free(instance: dg.DagsterInstance) -> None:
    """A killed run may have held one."""
    storage = instance.event_log_storage
    storage.set_concurrency_slots("pool", 1)
    record_run(instance, 1, [materialized("a")], days=9)
    record_run(instance, 2, [materialized("a")], days=8)
    storage.claim_concurrency_slot("pool", run_id(1), "step")

    prune(instance, plan_pruning(instance, days_ago(7)))

    assert storage.get_concurrency_info("pool").active_slot_count == 0


def test_other_kinds_of_storage_are_refused() -> None:
    """The error names them."""
    instance: Any = SimpleNamespace(run_storage=[], event_log_storage=())

    with pytest.raises(UnsupportedStorageError, match="runs in list and events in tuple"):
        plan_pruning(instance, datetime.now(UTC))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A SQLite file of which nearly all pages are free."""
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 4000,)] * 1000)
        connection.execute("DELETE FROM t WHERE rowid > 10")
        connection.commit()
    return path


def test_a_file_is_shrunk_while_another_process_reads_it(database: Path) -> None:
    """The reader sees the state in which it began; the file shrinks when it has ended."""
    with closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (10,)
        shrinking = threading.Thread(target=reclaim, args=(database,), kwargs={"is_busy": True})
        shrinking.start()
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (10,)
        reader.execute("COMMIT")
        shrinking.join(timeout=60)

    assert database.stat().st_size < 200_000


def test_a_file_is_left_alone_when_the_disk_is_nearly_full(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite would need space for two copies."""
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=10))
    size = database.stat().st_size

    assert "free disk space" in reclaim(database, is_busy=False)
    assert database.stat().st_size == size


def test_a_file_that_cannot_be_shrunk_is_reported(tmp_path: Path) -> None:
    """A damaged file costs the others nothing."""
    (tmp_path / "some.db").write_text("not a database" * 100)

    assert reclaim(tmp_path / "some.db", is_busy=False) == "file is not a database"


def test_the_embedded_log_reads_on_in_another_process(home: Path) -> None:
    """A pool that has a deleted run's file open forgets it, and other runs are read as before."""
    with dg.DagsterInstance.from_config(str(home)) as instance, dg.DagsterInstance.from_config(str(home)) as other:
        for number in (1, 2):
            record_run(instance, number, [materialized("a")], days=9)
        assert len(other.all_logs(run_id(1))) == len(other.all_logs(run_id(2))) == 2

        prune(instance, plan_pruning(instance, days_ago(7)))

        assert len(other.all_logs(run_id(2))) == 2
        assert [record.run_id for record in other.fetch_materializations(FLAG, limit=9).records] == [run_id(2)]
        if isinstance(other.event_log_storage, EmbeddedEventLogStorage):
            assert list(other.all_logs(run_id(1))) == []
