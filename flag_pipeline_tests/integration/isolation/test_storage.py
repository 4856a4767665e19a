"""Recording: off the loop, in batches, and what happens when the event log fails."""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence

import dagster as dg
import pytest

from flag_pipeline.isolation import per_partition
from flag_pipeline_tests.integration.isolation.runs import LETTERS, SINGLE_RUN, colours, ranged, retrying

MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION


def isolated_asset(called: list[str]) -> dg.AssetsDefinition:
    """An isolated asset of two, in which all is well."""
    specs = [dg.AssetSpec("first"), dg.AssetSpec("second", deps=["first"])]

    @dg.multi_asset(specs=specs, partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition(max_concurrent=1)
    async def both(partition_key: str) -> None:
        called.append(partition_key)

    return both


def test_a_log_that_fails_ends_the_step_with_its_error(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stored before stays; the re-execution asks for the rest; nothing hangs."""
    called: list[str] = []
    asset = isolated_asset(called)
    log = instance.event_log_storage
    store = log.store_event
    stored: list[dg.EventLogEntry] = []

    def store_two(event: dg.EventLogEntry) -> None:
        if event.dagster_event_type is MATERIALIZATION:
            if len(stored) == 4:
                raise sqlite3.OperationalError("database or disk is full")
            stored.append(event)
        store(event)

    with monkeypatch.context() as patch:
        patch.setattr(log, "store_event", store_two)
        result = dg.materialize([asset], instance=instance, tags=ranged("a", "e"), raise_on_error=False)

    error = next(event for event in result.all_events if event.is_step_failure).step_failure_data.error
    assert error is not None
    assert "database or disk is full" in error.to_string()
    done = set(instance.get_materialized_partitions(dg.AssetKey("second")))
    assert done < set("abcde")
    assert not set(colours(instance, asset)["second"][1]) & done
    called.clear()
    again = dg.materialize([asset], instance=instance, tags=ranged("a", "e") | retrying(result))
    assert again.success
    assert set(called) == set("abcde") - done


def test_what_ends_together_is_stored_together(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four partitions are one transaction for each asset, and they do not wait for the slow fifth."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    log = instance.event_log_storage
    store_one = log.store_event
    batches: list[list[dg.AssetKey | None]] = []
    are_stored = threading.Event()

    @dg.multi_asset(
        specs=[dg.AssetSpec("first"), dg.AssetSpec("second", deps=["first"])],
        partitions_def=LETTERS,
        backfill_policy=SINGLE_RUN,
    )
    @per_partition
    async def both(partition_key: str) -> None:
        if partition_key == "b":
            assert await asyncio.to_thread(are_stored.wait, 30)

    def store_event_batch(events: Sequence[dg.EventLogEntry]) -> None:
        if events[0].dagster_event_type is MATERIALIZATION:
            assert threading.current_thread() is not threading.main_thread()
            batches.append([event.get_dagster_event().asset_key for event in events])
        for event in events:
            store_one(event)
        if len(batches) == 2:
            are_stored.set()

    monkeypatch.setattr(log, "store_event_batch", store_event_batch)
    monkeypatch.setattr(log, "store_event", lambda event: store_event_batch([event]))

    assert dg.materialize([both], instance=instance, tags=ranged("a", "e")).success
    assert [len(batch) for batch in batches] == [4, 4, 1, 1]
    assert all(len(set(batch)) == 1 for batch in batches)


def test_the_error_of_the_last_batch_is_not_lost(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the deadline of the step, partitions may wait for events that then cannot be stored."""
    log = instance.event_log_storage
    store = log.store_event
    deadline_passed = threading.Event()

    @dg.asset(partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition(step_timeout_s=0.2)
    async def isolated(partition_key: str) -> None:
        if partition_key == "b":
            try:
                await asyncio.Event().wait()
            finally:
                deadline_passed.set()

    def fail_late(event: dg.EventLogEntry) -> None:
        if event.dagster_event_type is MATERIALIZATION:
            assert deadline_passed.wait(timeout=30)
            raise sqlite3.OperationalError("database or disk is full")
        store(event)

    with monkeypatch.context() as patch:
        patch.setattr(log, "store_event", fail_late)
        result = dg.materialize([isolated], instance=instance, tags=ranged("a", "b"), raise_on_error=False)

    error = next(event for event in result.all_events if event.is_step_failure).step_failure_data.error
    assert error is not None
    assert "database or disk is full" in error.to_string()
