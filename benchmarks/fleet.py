"""A backfill of thousands of countries on the fleet of `deploy/distributed`: the figures of `deploy/SIZING.md`.

    uv run --all-groups python -m benchmarks.fleet --countries 10000 --chunk 500

Two Celery workers, Postgres with fsync, SeaweedFS and a web server with flags of real size, all on this machine. Then
the UI's pages are opened in Chromium.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Request
from sqlalchemy import create_engine, text

from benchmarks.measuring import Place, server
from benchmarks.processes import Processes
from benchmarks.provider import synthetic_codes
from benchmarks.real_flags import write_site
from flag_pipeline.core.countries import iso_codes
from flag_pipeline_tests.e2e import browser
from flag_pipeline_tests.e2e.deployment import LOCATION, asset_paths, wait_for
from flag_pipeline_tests.e2e.fleet import Fleet, running_fleet
from flag_pipeline_tests.seaweed import SeaweedFS, running_seaweed

ROLES = {
    # First, because its arguments name Postgres too.
    "api grpc": "code servers",
    "nginx": "source (nginx)",
    "benchmarks.web_server": "source (nginx)",
    "weed": "bucket (SeaweedFS)",
    "postgres": "Postgres",
    "redis-server": "Redis",
    "celery": "workers",
    "flag_pipeline.ui.webserver": "webserver",
    "dagster._daemon": "daemon",
}
FETCHING, DERIVING = "fetching", "deriving"
# The sensors look every 10 s, the daemon for them every 30 s.
SETTLED_S = 60
PAGE_VISITS, PAGE_TIMEOUT_MS = 3, 120_000


@contextmanager
def started_fleet(folder: Path, n_countries: int, settings: Mapping[str, str]) -> Iterator[tuple[Fleet, SeaweedFS]]:
    """Run source, bucket and fleet inside the block, without the daemon."""
    codes = synthetic_codes(n_countries)
    place = Place(folder)
    for name in ("home", "bucket"):
        (folder / name).mkdir()
    write_site(folder / "site", codes)
    with ExitStack() as stack:
        command = [sys.executable, "-m", "benchmarks.web_server", str(folder / "site")]
        url = stack.enter_context(server(command, place))
        seaweed = stack.enter_context(running_seaweed(folder / "bucket"))
        known = {
            "FLAG_SOURCE": url,
            "FLAG_STORE": f"{seaweed.make_bucket('flags')}/fleet",
            "FLAG_EXTRA_CODES": ",".join(sorted({*codes} - {*iso_codes()})),
        }
        workers = ["one", "two"]
        fleet = running_fleet(place.home, seaweed, {**known, **settings}, workers=workers, fsync=True)
        yield stack.enter_context(fleet), seaweed


def settled_runs(fleet: Fleet, backfill: str, since: float, *, timeout_s: float) -> list[dict[str, Any]]:
    """Wait until the backfill and all runs that it caused have ended; return the runs."""
    fleet.finished_backfill(backfill, timeout_s=timeout_s)

    def settled() -> list[dict[str, Any]] | None:
        runs = [run for run in fleet.runs() if not run["startTime"] or run["startTime"] > since]
        ended_at = [run["endTime"] for run in runs]
        is_over = all(ended_at) and max(ended_at) < time.time() - SETTLED_S
        return runs if is_over and any(kind_of(run) == DERIVING for run in runs) else None

    return wait_for("the end of all runs", settled, timeout_s=timeout_s)


def kind_of(run: Mapping[str, Any]) -> str:
    """Tell a run that fetches from one that derives the catalog."""
    return FETCHING if {"country_metadata", "flag_image"} & set(asset_paths(run)) else DERIVING


@dataclass(frozen=True, slots=True)
class Phase:
    """The runs of one kind."""

    n_runs: int
    seconds: float
    longest_s: float

    @classmethod
    def of(cls, runs: list[dict[str, Any]]) -> "Phase":
        """Sum them up."""
        seconds = max(run["endTime"] for run in runs) - min(run["startTime"] for run in runs)
        return cls(len(runs), seconds, max(run["endTime"] - run["startTime"] for run in runs))


@dataclass(frozen=True, slots=True)
class Counts:
    """What has been counted since the fleet was started.

    Attributes:
        rows: of the event log, by type.
        log_bytes: of its table and the tags, with indexes.
        requests: of the bucket, by type.
        cpu_s: processor time by role, in seconds.
    """

    rows: Counter[str]
    log_bytes: int
    requests: Counter[str]
    cpu_s: Mapping[str, float]

    @classmethod
    def until_now(cls, fleet: Fleet, seaweed: SeaweedFS, processes: Processes) -> "Counts":
        """Count."""
        engine = create_engine(fleet.environment["DAGSTER_PG_URL"])
        with engine.connect() as connection:
            by_type = connection.execute(
                text("SELECT coalesce(dagster_event_type, ''), count(*) FROM event_logs GROUP BY 1")
            )
            rows = Counter({str(name): int(number) for name, number in by_type})
            sizes = "SELECT pg_total_relation_size('event_logs') + pg_total_relation_size('asset_event_tags')"
            log_bytes = int(connection.scalar(text(sizes)) or 0)
        engine.dispose()
        cpu_s = {role: used.cpu_s for role, used in processes.used().items()}
        return cls(rows, log_bytes, Counter(seaweed.requests()), cpu_s)

    def since(self, earlier: "Counts") -> "Counts":
        """Return the differences."""
        return Counts(
            self.rows - earlier.rows,
            self.log_bytes - earlier.log_bytes,
            self.requests - earlier.requests,
            {role: cpu_s - earlier.cpu_s.get(role, 0) for role, cpu_s in self.cpu_s.items()},
        )


def visit(fleet: Fleet, path: str, shows: str) -> dict[str, float]:
    """Open a page of the UI in a fresh browser; return the seconds until it *shows* the text, and of each query."""
    seconds, started = dict[str, float](), dict[Request, float]()

    def answered(request: Request) -> None:
        if request in started:
            name = (request.post_data_json or {}).get("operationName", "")
            seconds.setdefault(name, time.monotonic() - started.pop(request))

    with browser.page(width_px=1400, height_px=900) as page:
        page.on("request", lambda request: started.update({request: time.monotonic()}))
        page.on("requestfinished", answered)
        opened_at = time.monotonic()
        page.goto(f"{fleet.url}{path}")
        page.get_by_text(shows).first.wait_for(timeout=PAGE_TIMEOUT_MS)
        return {"page": time.monotonic() - opened_at, **seconds}


def print_page(fleet: Fleet, path: str, shows: str, query: str) -> None:
    """Open a page a few times; the first visit finds nothing in the webserver's caches."""
    visits = [visit(fleet, path, shows) for _ in range(PAGE_VISITS)]
    for name in ("page", query):
        print(f"{path.partition('?')[0]}, {name}: " + ", ".join(f"{each.get(name, 0):.2f}" for each in visits) + " s")


def print_ticks(fleet: Fleet) -> None:
    """Print how long the ticks of each sensor took."""
    answer = fleet.ask(
        """query ($repository: RepositorySelector!) { sensorsOrError(repositorySelector: $repository) {
            ... on Sensors { results { name sensorState { ticks(limit: 500) { timestamp endTimestamp } } } } } }""",
        repository=LOCATION,
    )
    for sensor in answer["sensorsOrError"]["results"]:
        ticks = sensor["sensorState"]["ticks"]
        seconds = [tick["endTimestamp"] - tick["timestamp"] for tick in ticks if tick["endTimestamp"]]
        if seconds:
            print(f"sensor {sensor['name']}: ticks of {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s")


def print_figures(runs: list[dict[str, Any]], counts: Counts, n_countries: int) -> None:
    """Print what a backfill took."""
    phases = {kind: Phase.of([run for run in runs if kind_of(run) == kind]) for kind in (FETCHING, DERIVING)}
    for kind, phase in phases.items():
        print(f"{kind}: {phase.n_runs} runs in {phase.seconds:.1f} s, the longest {phase.longest_s:.1f} s")
    seconds, n_rows = phases[FETCHING].seconds, sum(counts.rows.values())
    print(f"partitions: {n_countries / seconds:.1f} a second of fetching")
    kb_each = counts.log_bytes / n_countries / 1000
    print(f"event rows: {n_rows}, {n_rows / seconds:.0f} a second; {kb_each:.1f} kB a partition")
    print(f"requests of the bucket: {dict(counts.requests)}; {counts.requests['PUT'] / seconds:.0f} puts a second")
    busiest = sorted(counts.cpu_s.items(), key=lambda pair: -pair[1])
    print("processor time: " + ", ".join(f"{role} {cpu_s:.1f} s" for role, cpu_s in busiest), flush=True)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A running fleet and what counts."""

    fleet: Fleet
    seaweed: SeaweedFS
    processes: Processes
    n_countries: int
    timeout_s: float

    def backfill(self, title: str) -> str:
        """Run a backfill of everything, print its figures, and return its id."""
        before, started_at = Counts.until_now(self.fleet, self.seaweed, self.processes), time.time()
        print(f"\n{title}, at load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        self.fleet.reload_code()
        backfill = self.fleet.backfill_all()
        runs = settled_runs(self.fleet, backfill, started_at, timeout_s=self.timeout_s)
        counts = Counts.until_now(self.fleet, self.seaweed, self.processes).since(before)
        print(f"until all was quiet: {time.time() - started_at:.0f} s, at load {os.getloadavg()[0]:.1f}")
        print_figures(runs, counts, self.n_countries)
        return backfill

    def print_peaks(self) -> None:
        """Print the memory of the largest process of each role."""
        used = self.processes.used().items()
        print("peak memory: " + ", ".join(f"{role} {each.peak_mb:.0f} MB" for role, each in used))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--countries", type=int, default=10_000)
    parser.add_argument("--chunk", type=int, default=500)
    parser.add_argument("--timeout-s", type=float, default=3600)
    given = parser.parse_args()
    settings = {"FLAG_MAX_PARTITIONS_PER_RUN": str(given.chunk)}
    with tempfile.TemporaryDirectory(prefix="flag-fleet-") as name, ExitStack() as stack:
        fleet, seaweed = stack.enter_context(started_fleet(Path(name), given.countries, settings))
        processes = stack.enter_context(Processes(ROLES))
        fleet.start_daemon()
        measurement = Measurement(fleet, seaweed, processes, given.countries, given.timeout_s)
        backfill = measurement.backfill("the first backfill")
        print_page(
            fleet, "/assets/flag_image?view=partitions", f"Materialized ({given.countries})", "PartitionHealthQuery"
        )
        print_page(fleet, f"/runs/b/{backfill}", "100% completed", "BackfillDetailsQuery")
        for code in synthetic_codes(given.countries)[:: given.chunk]:
            cc = code.lower()
            Path(name, "site", cc, f"{cc}.gif").write_text("<html>maintenance</html>")
        measurement.backfill("the second, in which one country of each run fails")
        print_ticks(fleet)
        measurement.print_peaks()


if __name__ == "__main__":
    main()
