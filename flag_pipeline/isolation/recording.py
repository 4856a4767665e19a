"""Records outcomes in Dagster's event log in batches, while partitions run."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Self

import dagster as dg

from flag_pipeline.isolation.checks import CheckResults
from flag_pipeline.isolation.dagster_private import (
    DATA_VERSION_TAG,
    AssetEvent,
    latest_storage_ids,
    store_events,
)
from flag_pipeline.isolation.event_tags import EventTags
from flag_pipeline.isolation.outcomes import Delivered, Ended, Missed, Result
from flag_pipeline.isolation.provenance import Provenance, Recorded, Version
from flag_pipeline.isolation.step import Step

MAX_BATCH = 500
LINGER_S = 0.05


@dataclass(frozen=True)
class EventWriter:
    """Writes the events of ended partitions, one batch per asset, upstream first.

    Attributes:
        written: the events, if an in-process run returns them.
    """

    step: Step
    tags: EventTags
    checks: CheckResults
    provenance: Provenance
    written: list[dg.DagsterEvent] = field(default_factory=list)

    def write(self, batch: Sequence[Ended]) -> None:
        """Store the events of the batch."""
        recorded = dict[dg.AssetKey, Mapping[str, Version]]()
        for asset_key in self.step.assets.selected:
            events = {ended.key: self._event(asset_key, ended, recorded) for ended in batch}
            self.store(list(events.values()))
            if self._is_parent(asset_key):
                recorded[asset_key] = self._versions(asset_key, events)
        self.store_checks([ended for ended in batch if isinstance(ended, Delivered)])

    def store(self, events: Sequence[AssetEvent]) -> None:
        """Store events of one asset."""
        stored = store_events(self.step.execution, events)
        if self.step.execution.output_capture is not None:
            self.written.extend(stored)

    def store_checks(self, delivered: Sequence[Delivered]) -> None:
        """Count the check results, and store those of partitioned checks."""
        for events in self.checks.add(delivered).values():
            self.store(events)

    def _is_parent(self, asset_key: dg.AssetKey) -> bool:
        return any(asset_key in self.step.parents(other) - {other} for other in self.step.assets.selected)

    def _versions(self, asset_key: dg.AssetKey, events: Mapping[str, AssetEvent]) -> dict[str, Version]:
        """Return the recorded versions; a downstream event without a storage id never becomes stale."""
        made = {key: event for key, event in events.items() if isinstance(event, dg.AssetMaterialization)}
        ids = latest_storage_ids(self.step.instance, asset_key, partition_keys=set(made)) if made else {}
        return {key: Version((event.tags or {})[DATA_VERSION_TAG], ids.get(key)) for key, event in made.items()}

    def _event(self, asset_key: dg.AssetKey, ended: Ended, recorded: Recorded) -> AssetEvent:
        if isinstance(ended, Missed):
            return self._observation(asset_key, ended)
        result = ended.results[asset_key]
        tags = {**(result.tags or {}), self.tags.outcome: self.tags.word(ended.outcome)}
        return dg.AssetMaterialization(
            asset_key,
            partition=ended.key,
            metadata=self._metadata(asset_key, ended, result),
            tags={**tags, **self.provenance.tags(asset_key, ended.key, result, recorded)},
        )

    def _metadata(self, asset_key: dg.AssetKey, ended: Delivered, result: Result) -> dict[str, Any]:
        of_asset = self.step.execution.get_asset_metadata(asset_key=asset_key)
        of_partition = self.step.execution.get_asset_metadata(asset_key=asset_key, partition_key=ended.key)
        attempts = {"attempts": ended.attempts} if ended.attempts > 1 else {}
        return {**attempts, **(of_asset or {}), **(of_partition or {}), **(result.metadata or {})}

    def _observation(self, asset_key: dg.AssetKey, missed: Missed) -> dg.AssetObservation:
        traceback = {"traceback": dg.MetadataValue.md(f"```\n{missed.traceback}\n```")} if missed.traceback else {}
        own: dict[str, Any] = {"reason": missed.reason, "kind": missed.kind, "attempts": missed.attempts, **traceback}
        return dg.AssetObservation(
            asset_key,
            partition=missed.key,
            # The function's metadata comes first, in its order, and wins.
            metadata={**missed.metadata, **own, **missed.metadata},
            tags={
                **missed.tags,
                self.tags.outcome: self.tags.word(missed.outcome),
                self.tags.kind: missed.kind,
                self.tags.transient: str(missed.is_transient).lower(),
            },
        )


class Recorder:
    """Writes outcomes on a thread, in batches, because a batch costs as much as ten events.

    A batch is written when *n_concurrent* outcomes or all of *n_expected* wait, and `LINGER_S` after its first one. Use
    it on one event loop. On exit, even when cancelled, it waits for all writes and raises their first error.
    """

    def __init__(self, writer: EventWriter, *, n_concurrent: int = 1, n_expected: int = 1) -> None:
        self._writer = writer
        self._n_concurrent = n_concurrent
        self._n_expected = n_expected
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="event-log")
        self._waiting: deque[tuple[Ended, asyncio.Future[None]]] = deque()
        self._job: asyncio.Future[None] | None = None
        self._error: BaseException | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._job is not None or self._waiting:
                if self._job is None:
                    self._write_next()
                else:
                    await asyncio.wait({self._job})
                    await asyncio.sleep(0)  # its callback may start the next batch
        finally:
            self._thread.shutdown(wait=False)
        if self._error is not None and error is None:
            raise self._error

    async def record(self, ended: Ended) -> None:
        """Write the partition's events; return when they are stored."""
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((ended, stored))
        self._write_if_due()
        await stored

    def _write_if_due(self) -> None:
        if self._job is not None or not self._waiting:
            return
        if len(self._waiting) >= min(self._n_concurrent, self._n_expected):
            self._write_next()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._write_next)

    def _write_next(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = [self._waiting.popleft() for _ in islice(range(len(self._waiting)), MAX_BATCH)]
        self._n_expected -= len(batch)
        work = partial(self._writer.write, [ended for ended, _ in batch])
        self._job = asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._job.add_done_callback(partial(self._settle, [stored for _, stored in batch]))

    def _settle(self, batch: Sequence[asyncio.Future[None]], job: asyncio.Future[None]) -> None:
        error = job.exception()
        self._job = None
        self._error = self._error or error
        for stored in batch:
            if not stored.done():
                stored.set_exception(error) if error else stored.set_result(None)
        self._write_if_due()
