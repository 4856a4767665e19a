"""The sweep: one outcome a country, whatever happens."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from flag_pipeline.catalog.rows import catalog_rows
from flag_pipeline.core.models import (
    FlagFailed,
    FlagNotFound,
    FlagRecord,
    FlagSaved,
    FlagUnchanged,
    LastFailure,
    Outcome,
    RowStatus,
)
from flag_pipeline.core.refresh import Refresher
from flag_pipeline.core.sink import FileSink
from flag_pipeline.defs.flags import IN_PROGRESS
from flag_pipeline.errors import ErrorKind
from flag_pipeline.fetching.models import FetchStatistics
from flag_pipeline_tests.fakes import FakeRefresher, FakeSource
from flag_pipeline_tests.samples import flag, gif, record
from flag_pipeline_tests.sweeping import SweepSummary, sweep

CODES = [f"{number:03}" for number in range(100)]
OUTCOMES = (
    lambda code: FlagSaved(code, FlagRecord(code), "", FetchStatistics()),
    lambda code: FlagUnchanged(code, FlagRecord(code), "", FetchStatistics()),
    lambda code: FlagNotFound(code, "404", "", 1, FetchStatistics()),
    lambda code: FlagFailed(code, ErrorKind.TIMEOUT, "slow", "", 1, FetchStatistics()),
)


class Recorded:
    """Remembers what was recorded."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    async def record(self, outcome: Outcome) -> None:
        """Note the outcome."""
        self.outcomes.append(outcome)


async def run(
    refresh: Callable[[str], Coroutine[Any, Any, Outcome]],
    recorded: Recorded,
    *,
    codes: list[str] = CODES,
    timeout_s: float = 60,
) -> SweepSummary:
    """Sweep *codes* with at most ten requests at once."""
    return await sweep(codes, FakeRefresher(refresh), recorded.record, max_requests=10, timeout_s=timeout_s)


async def never(*_given: object, **_named: object) -> NoReturn:
    """Wait for an answer that does not come."""
    await asyncio.Future()
    raise AssertionError


async def test_each_code_has_exactly_one_outcome() -> None:
    """Duplicates count once, and the summary adds up."""

    async def refresh(code: str) -> Outcome:
        await asyncio.sleep(0)
        return OUTCOMES[int(code) % 4](code)

    recorded = Recorded()
    summary = await run(refresh, recorded, codes=CODES + CODES[:10])

    assert sorted(outcome.code for outcome in recorded.outcomes) == CODES
    assert (summary.requested, summary.saved, summary.unchanged) == (100, 25, 25)
    assert (len(summary.not_found), len(summary.failed)) == (25, 25)


async def test_nothing_to_do_is_done() -> None:
    """A run without codes has no outcome."""
    recorded = Recorded()

    assert (await run(OUTCOMES[0], recorded, codes=[])).requested == 0  # type: ignore[arg-type]


async def test_countries_in_hand_are_bounded() -> None:
    """At most two countries per allowed request are in memory at once, and all of these are used."""
    in_hand, peak, full = 0, 0, asyncio.Event()
    bound = IN_PROGRESS * 10

    async def refresh(code: str) -> Outcome:
        nonlocal in_hand, peak
        in_hand += 1
        peak = max(peak, in_hand)
        if in_hand == bound:
            full.set()
        await full.wait()
        await asyncio.sleep(0)  # Every other task that was started reaches this point before this one ends
        in_hand -= 1
        return OUTCOMES[0](code)

    await run(refresh, Recorded())

    assert peak == bound == 20


async def test_what_is_not_done_in_time_has_timed_out() -> None:
    """The others keep their outcome."""

    async def refresh(code: str) -> Outcome:
        if code >= "090":
            await asyncio.Event().wait()
        return OUTCOMES[0](code)

    recorded = Recorded()
    summary = await run(refresh, recorded, timeout_s=0.1)

    assert summary.saved == 90
    assert [miss.code for miss in summary.failed] == CODES[90:]
    assert {miss.kind for miss in summary.failed} == {ErrorKind.TIMEOUT}
    assert len(recorded.outcomes) == 100


async def test_what_is_not_done_in_time_is_recorded_as_failed() -> None:
    """The recorded outcome is the store's, because an unchanged row need not be built again."""
    recorded, refresher = Recorded(), FakeRefresher(never)

    summary = await sweep(CODES, refresher, recorded.record, max_requests=10, timeout_s=0.05)

    assert [miss.code for miss in refresher.failures] == CODES
    assert recorded.outcomes == summary.failed == [replace(miss, only_row_changed=False) for miss in refresher.failures]


async def test_store_that_hangs_does_not_hold_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time it is left to itself, and every country still has its outcome."""
    monkeypatch.setattr("flag_pipeline.isolation.concurrency.AFTER_DEADLINE_S", 0.05)
    recorded, refresher = Recorded(), FakeRefresher(never)
    refresher.record_failure = never  # type: ignore[method-assign]

    summary = await sweep(CODES, refresher, recorded.record, max_requests=10, timeout_s=0.05)

    assert [miss.code for miss in summary.failed] == CODES
    assert len(recorded.outcomes) == 100


@pytest.fixture
def silent_source() -> FakeSource:
    """A source that never answers."""
    source = FakeSource({})
    source.fetch = never  # type: ignore[method-assign]
    return source


async def test_country_that_was_given_up_is_stale_with_the_reason(silent_source: FakeSource, tmp_path: Path) -> None:
    """One that was never fetched has failed too; to be given up again changes no row."""
    recorded = Recorded()
    async with FileSink(str(tmp_path)) as sink:
        refresher = Refresher(silent_source, sink)  # type: ignore[arg-type]
        await sink.save(record("CN"), image=flag())

        for _ in range(2):
            await sweep(["CN", "FR"], refresher, recorded.record, max_requests=10, timeout_s=0.05)

        cn, fr = await asyncio.to_thread(catalog_rows, [], await sink.records(), {})
    assert (cn.status, cn.reason) == (
        RowStatus.STALE,
        "timeout: the step was ended after 0.05 s, before this partition was done",
    )
    assert (fr.status, fr.has_failed) == (RowStatus.MISSING, True)
    assert [outcome.only_row_changed for outcome in recorded.outcomes] == [True, True, False, False]


@pytest.fixture
def source() -> FakeSource:
    """A source that has France."""
    return FakeSource({"fr/metadata.json": b'{"country": "France", "iso_cc": "FR"}', "fr/fr.gif": gif()})


async def test_bug_costs_one_country_and_is_logged(
    source: FakeSource, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its kind is `unexpected`, the catalog shows it, its traceback is in the log, and its text is escaped."""
    source.files["cn/metadata.json"] = RuntimeError("\x1b[31mred\u202e")
    async with FileSink(str(tmp_path)) as sink:
        refresher = Refresher(source, sink)  # type: ignore[arg-type]

        summary = await sweep(["CN", "FR"], refresher, Recorded().record, max_requests=10, timeout_s=60)

        recorded = (await sink.records())["CN"].last_failure
    assert summary.saved_codes == {"FR"}
    assert recorded == LastFailure(ErrorKind.UNEXPECTED, "RuntimeError: \\x1b[31mred\\u202e")
    assert [(miss.code, miss.kind, miss.reason) for miss in summary.failed] == [
        ("CN", ErrorKind.UNEXPECTED, recorded.reason)
    ]
    assert "Traceback" in caplog.text


async def test_store_that_fails_in_no_known_way_costs_one_country(source: FakeSource, tmp_path: Path) -> None:
    """A closed sink's threads raise RuntimeError, and the failure cannot be recorded there either."""
    async with FileSink(str(tmp_path)) as closed:
        pass
    refresher = Refresher(source, closed)  # type: ignore[arg-type]

    summary = await sweep(["FR"], refresher, Recorded().record, max_requests=10, timeout_s=60)

    assert [(miss.kind, "shutdown" in miss.reason) for miss in summary.failed] == [(ErrorKind.UNEXPECTED, True)]


async def test_cancelling_records_nothing_more() -> None:
    """What was recorded stays, what was under way is left."""
    recorded, started = Recorded(), asyncio.Event()

    async def refresh(code: str) -> Outcome:
        if code != "000":
            started.set()
            await asyncio.Event().wait()
        return OUTCOMES[0](code)

    task = asyncio.create_task(run(refresh, recorded))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [outcome.code for outcome in recorded.outcomes] == ["000"]


async def test_country_in_doubt_is_settled_again_and_counts_once() -> None:
    """The summary has the second outcome, and not the first one."""
    codes = CODES[:4]
    refreshed: set[str] = set()

    async def refresh(code: str) -> Outcome:
        is_again = code in refreshed
        refreshed.add(code)
        if is_again:
            return OUTCOMES[1 if code == "000" else 0](code)
        return OUTCOMES[int(code)](code)

    recorded, refresher = Recorded(), FakeRefresher(refresh)
    refresher.doubtful = [{"000", "001"}, {"002", "003"}]
    summary = await sweep(codes, refresher, recorded.record, max_requests=10, timeout_s=60)

    # What the source does not have is recorded at the end: the first outcome of 002 never was.
    assert [outcome.code for outcome in recorded.outcomes] == ["000", "001", "003", *codes]
    assert (summary.requested, summary.saved_codes, summary.unchanged_codes) == (4, {"001", "002", "003"}, {"000"})
    assert (summary.not_found, summary.failed) == ([], [])


async def test_country_in_doubt_at_the_deadline_has_failed() -> None:
    """There is no time to fetch it again, and its first outcome may be wrong."""

    async def refresh(code: str) -> Outcome:
        if code == "001":
            await asyncio.Event().wait()
        return OUTCOMES[0](code)

    recorded, refresher = Recorded(), FakeRefresher(refresh)
    refresher.doubtful = [{"000"}]
    summary = await sweep(["000", "001", "002"], refresher, recorded.record, max_requests=10, timeout_s=0.05)

    assert summary.saved_codes == {"002"}
    assert sorted((miss.code, miss.kind) for miss in summary.failed) == [
        ("000", ErrorKind.TIMEOUT),
        ("001", ErrorKind.TIMEOUT),
    ]


async def test_cancelling_records_that_a_stored_answer_is_in_doubt() -> None:
    """Nothing else is recorded, not even of another country in doubt that has no outcome yet."""
    recorded, settled = Recorded(), asyncio.Event()

    async def refresh(code: str) -> Outcome:
        if code != "000":
            settled.set()
            await asyncio.Event().wait()
        return OUTCOMES[0](code)

    refresher = FakeRefresher(refresh)
    refresher.doubtful = [{"000", "001"}]
    task = asyncio.create_task(sweep(CODES, refresher, recorded.record, max_requests=10, timeout_s=60))
    await settled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [(type(outcome), outcome.code) for outcome in recorded.outcomes] == [(FlagSaved, "000"), (FlagFailed, "000")]
    assert [miss.kind for miss in refresher.failures] == [ErrorKind.CONNECTION]
