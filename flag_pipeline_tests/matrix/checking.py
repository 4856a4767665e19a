"""The checker: what is right after any launch, and which of it is not."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flag_pipeline_tests.matrix.axes import End
from flag_pipeline_tests.matrix.observing import History, StoredFlag

FETCHED, ABSENT, FAILED = "fetched", "not_found", "failed"


@dataclass(frozen=True, slots=True)
class Truth:
    """What is right for one country that the launch asks the source for.

    Attributes:
        outcomes: what may come of it.
        flag: the bytes that the source serves for it.
        name: the name that it serves.
    """

    outcomes: frozenset[str]
    flag: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What is right after the launch as a whole.

    Attributes:
        truths: by code, the countries that are fetched.
        end: how it ended.
        must_fail: whether the run fails whatever its countries did.
        asks_nothing: whether nothing may be asked for, because the launch is refused.
        source_prefix: what the addresses of the source's files start with.
        partitions: every country that there is a row for.
        damaged: countries whose files were damaged before the launch.
        probes: countries that may be asked for besides, to see whether the source has anything.
    """

    truths: Mapping[str, Truth]
    end: End
    must_fail: bool
    asks_nothing: bool
    source_prefix: str
    partitions: frozenset[str]
    damaged: frozenset[str] = frozenset()
    probes: frozenset[str] = frozenset({"US", "CN", "FR", "*"})


@dataclass(frozen=True, slots=True)
class State:
    """What store and instance say at one time."""

    store: Mapping[str, StoredFlag]
    history: History


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen after the launch.

    Attributes:
        exit_code: of the process that executed it, None where that was the webserver's.
        report: what the command printed as JSON, empty where it is no command.
        catalog: rows by code, None where no catalog was built.
        status: what `flag-pipeline status --json` says of the flags.
        asked: which codes the source was asked for.
        strangers: what was done to places that the launch did not name.
    """

    state: State
    exit_code: int | None
    report: Mapping[str, Any]
    catalog: Mapping[str, Mapping[str, str]] | None
    status: Mapping[str, Any]
    asked: frozenset[str]
    strangers: tuple[str, ...] = ()


@dataclass(slots=True)
class Checker:
    """Compares what was seen with what is right; `findings` has a sentence for each difference."""

    expected: Expected
    before: State
    seen: Seen
    findings: list[str] = field(default_factory=list)

    def check(self) -> list[str]:
        """Return what is wrong, nothing if all is right."""
        for part in (self._runs, self._asked, self._countries, self._others, self._status, self._catalog):
            self.findings += part()
        if self.seen.report:
            self.findings += self._report()
        self.findings += self.seen.strangers
        return self.findings

    @property
    def _new_runs(self) -> list[str]:
        return [run_id for run_id in self.seen.state.history.runs if run_id not in self.before.history.runs]

    def _outcomes(self) -> dict[str, str]:
        """What the launch's runs recorded, by code."""
        found: dict[str, str] = {}
        for run_id in reversed(self._new_runs):
            found |= self.seen.state.history.outcomes.get(run_id, {})
        return {code: outcome for code, outcome in found.items() if outcome != "carried_over"}

    def _runs(self) -> Iterator[str]:
        """Status and exit code agree with what was recorded."""
        runs = [self.seen.state.history.runs[run_id] for run_id in self._new_runs]
        statuses = {run.status for run in runs}
        has_failed = FAILED in self._outcomes().values() or self.expected.must_fail
        match self.expected.end:
            case End.INTERRUPTED:
                right = {"CANCELED", "FAILURE"}
                wrong_exit = self.seen.exit_code == 0 or (bool(self.seen.report) and self.seen.exit_code != 130)
            case End.KILLED:
                right, wrong_exit = {"STARTED", "STARTING", "FAILURE", "CANCELED", "NOT_STARTED"}, False
            case _:
                right = {"FAILURE", "SUCCESS"} if has_failed else {"SUCCESS"}
                wrong_exit = self.seen.exit_code is not None and (self.seen.exit_code != 0) != has_failed
        if not statuses <= right or (has_failed and statuses == {"SUCCESS"}):
            yield f"the runs ended as {sorted(statuses)}, with outcomes {sorted({*self._outcomes().values()})}"
        if not runs and not self.expected.asks_nothing:
            yield "there is no run"
        if wrong_exit:
            yield f"the exit code is {self.seen.exit_code}, although failures are {has_failed}"
        for run in runs:
            counts = dict(run.counts)
            requested = counts.pop("requested", 0)
            if counts and requested != sum(counts.values()):
                yield f"the run logs {run.counts}, which does not add up"

    def _asked(self) -> Iterator[str]:
        """The source that the launch names was asked for what the launch names, and for nothing else."""
        if self.expected.asks_nothing and self.seen.asked:
            yield f"a refused launch asked for {sorted(self.seen.asked)}"
        if strange := self.seen.asked - self.expected.truths.keys() - self.expected.probes:
            yield f"the source was asked for {sorted(strange)} too"

    def _countries(self) -> Iterator[str]:
        """Each requested country is right in the store and in the event log."""
        outcomes = self._outcomes()
        for code, truth in self.expected.truths.items():
            stored = self.seen.state.store.get(code, StoredFlag())
            yield from self._invariants(code, truth, stored)
            outcome = outcomes.get(code)
            if outcome is None:
                if self.expected.end in {End.COMPLETE, End.SOME_FAIL, End.ALL_FAIL} and not self.expected.asks_nothing:
                    yield f"{code} was requested, and no outcome is recorded"
                continue
            kind = FETCHED if outcome in {"saved", "unchanged"} else outcome
            if kind not in truth.outcomes and self.expected.end not in {End.INTERRUPTED, End.KILLED}:
                yield f"{code} is recorded as {outcome}, and should be {sorted(truth.outcomes)}"
            yield from self._fetched(code, truth, stored) if kind == FETCHED else self._missed(code, stored)

    def _invariants(self, code: str, truth: Truth, stored: StoredFlag) -> Iterator[str]:
        """However a launch ends, a stored flag is the country's own, and record and bytes belong together."""
        before = self.before.store.get(code, StoredFlag())
        if stored.content is not None and stored.content not in {truth.flag, before.content}:
            yield f"{code} has a flag in the store that is neither the source's nor the last good one"
        may_differ = self.expected.end is End.KILLED or code in self.expected.damaged
        if stored.content is not None and _sha256(stored.content) != stored.sha256 and not may_differ:
            yield f"{code} has another flag than its record says"
        event = self.seen.state.history.latest.get(code)
        is_new = event is not None and event.run_id in self._new_runs and event.outcome != "carried_over"
        if event and is_new and event.is_materialization and event.version not in {_sha256(truth.flag), before.sha256}:
            yield f"{code} is materialized with a data version that is not its flag's"

    def _fetched(self, code: str, truth: Truth, stored: StoredFlag) -> Iterator[str]:
        event = self.seen.state.history.latest[code]
        if stored.content != truth.flag:
            yield f"{code} is recorded as fetched, and the store does not have the flag that the source serves"
        if stored.metadata_name != truth.name:
            yield f"{code} is called {stored.metadata_name!r} in the store, and {truth.name!r} by the source"
        if not stored.source_url.startswith(self.expected.source_prefix):
            yield f"{code} comes from {stored.source_url}, not from {self.expected.source_prefix}"
        if stored.miss:
            yield f"{code} is recorded as fetched, and its record notes {stored.miss}"
        if not event.is_materialization or event.version != _sha256(truth.flag):
            yield f"{code} was fetched, and its latest event does not have its flag's data version"

    def _missed(self, code: str, stored: StoredFlag) -> Iterator[str]:
        before = self.before.store.get(code, StoredFlag())
        if stored.content != before.content and code not in self.expected.damaged:
            yield f"{code} brought nothing, and its last good flag was not kept"
        if not stored.miss:
            yield f"{code} brought nothing, and its record does not say why"
        if self.seen.state.history.latest[code].is_materialization:
            yield f"{code} brought nothing, and its latest event is a materialization"

    def _others(self) -> Iterator[str]:
        """Nothing changed for countries that were not requested, and for all when the launch is refused."""
        keeps = self.before.store.keys() | self.seen.state.store.keys()
        for code in sorted(keeps if self.expected.asks_nothing else keeps - self.expected.truths.keys()):
            if self.before.store.get(code) != self.seen.state.store.get(code):
                yield f"{code} was not requested, and changed in the store"
        events = self.before.history.latest
        for code in sorted(self.seen.state.history.latest.keys() - self.expected.truths.keys()):
            latest = self.seen.state.history.latest[code]
            if latest != events.get(code) and latest.outcome != "carried_over":
                yield f"{code} was not requested, and has a new event"

    def _status(self) -> Iterator[str]:
        """`status` says what the event log says, and names what the store lacks."""
        latest = self.seen.state.history.latest
        materialized = {code for code, event in latest.items() if event.is_materialization}
        lacking = {code for code in materialized if not self._has_flag(code)}
        right = {
            "lacking": lacking,
            "failed": {code for code, event in latest.items() if event.outcome == FAILED},
            "not_found": {code for code, event in latest.items() if event.outcome == ABSENT},
            "missing": {*self.expected.partitions} - latest.keys() | lacking,
        }
        for name, codes in right.items():
            if {*self.seen.status.get(name, [])} != codes:
                yield f"status has {name}: {self.seen.status.get(name, [])}, and should have {sorted(codes)}"
        if self.seen.status["materialized"] != len(materialized - lacking):
            yield f"status counts {self.seen.status['materialized']} materialized of {len(materialized - lacking)}"

    def _has_flag(self, code: str) -> bool:
        stored = self.seen.state.store.get(code)
        # What a listing says: that a record is damaged is found when it is read.
        return stored is not None and (stored.content is not None or not stored.is_readable)

    def _catalog(self) -> Iterator[str]:
        """The catalog has a row for each country, which says what the store says."""
        if self.seen.catalog is None:
            return
        if self.seen.catalog.keys() != self.expected.partitions:
            yield f"the catalog has {len(self.seen.catalog)} rows for {len(self.expected.partitions)} countries"
        for code, row in self.seen.catalog.items():
            stored = self.seen.state.store.get(code, StoredFlag())
            if not stored.is_readable or code in self.expected.damaged:
                continue
            right = _row_statuses(stored)
            if row["status"] not in right:
                yield f"{code} is {row['status']} in the catalog, and should be {sorted(right)}"
            if row["status"] != "ok" and stored.miss and not row["reason"].startswith(stored.miss):
                yield f"{code} is {row['status']} in the catalog because of {row['reason']!r}, and not {stored.miss}"
            if stored.content is not None and row["sha256"] != stored.sha256:
                yield f"{code} has another hash in the catalog than in the store"

    def _report(self) -> Iterator[str]:
        """What the command printed adds up, and is what the event log has."""
        report, outcomes = self.seen.report, [*self._outcomes().values()]
        parts = (
            report["saved"],
            report["unchanged"],
            len(report["not_found"]),
            len(report["failed"]),
            report.get("not_asked", 0),
        )
        if sum(parts) != report["requested"]:
            yield f"{report['requested']} requested are not {parts}"
        if report["requested"] != len(self.expected.truths):
            yield f"{report['requested']} are reported as requested, and {len(self.expected.truths)} were"
        events = tuple(outcomes.count(word) for word in ("saved", "unchanged", "not_found", "failed"))
        if events != parts[:4]:
            yield f"{parts[:4]} are reported as saved, unchanged, not found and failed, and recorded are {events}"
        if self.seen.catalog is not None and report["catalog_rows"] not in {0, len(self.seen.catalog)}:
            yield f"{report['catalog_rows']} rows are reported, and the catalog has {len(self.seen.catalog)}"


def _row_statuses(stored: StoredFlag) -> set[str]:
    if stored.content is not None:
        return {"ok"} if not stored.miss else {"stale", ABSENT} if stored.miss == ABSENT else {"stale"}
    if stored.sha256:
        return {"stale", "missing"}
    return {"not_found"} if stored.miss == ABSENT else {"missing"}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
