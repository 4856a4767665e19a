"""A backfill of thousands of countries on the fleet of `deploy/distributed`: the figures of `deploy/SIZING.md`.

    uv run --all-groups python -m benchmarks.fleet --countries 10000 --chunk 500

Two Celery workers, Postgres with fsync, SeaweedFS and a web server with flags of real size, all on this machine. Then
the UI's pages are opened in Chromium.
"""

import argparse
import os
import sys
import tempfile
import time
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
from flag_pipeline_tests.e2e.deployment import asset_paths, wait_for
from flag_pipeline_tests.e2e.fleet import Fleet, running_fleet
from flag_pipeline_tests.seaweed import SeaweedFS, running_seaweed

ROLES = {
    "nginx": "source (nginx)",
    "benchmarks.web_server": "source (nginx)",
    "weed": "bucket (SeaweedFS)",
    "postgres": "Postgres",
    "redis-server": "Redis",
    "celery": "workers",
    "api grpc": "code servers",
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


def settled_runs(fleet: Fleet, backfill: str, *, timeout_s: float) -> list[dict[str, Any]]:
    """Wait until the backfill and all runs that it caused have ended; return the runs."""
    status = fleet.finished_backfill(backfill, timeout_s=timeout_s)
    if status != "COMPLETED_SUCCESS":
        raise SystemExit(f"the backfill ended with {status}")

    def settled() -> list[dict[str, Any]] | None:
        runs = fleet.runs()
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
    started_at: float

    @classmethod
    def of(cls, runs: list[dict[str, Any]]) -> "Phase":
        """Sum them up."""
        started_at = min(run["startTime"] for run in runs)
        longest_s = max(run["endTime"] - run["startTime"] for run in runs)
        return cls(len(runs), max(run["endTime"] for run in runs) - started_at, longest_s, started_at)


def rows_of(database: str) -> dict[str, int]:
    """Count the rows of the event log by type, and the bytes of its table with indexes."""
    engine = create_engine(database)
    with engine.connect() as connection:
        counted = connection.execute(
            text("SELECT coalesce(dagster_event_type, 'log'), count(*) FROM event_logs GROUP BY 1 ORDER BY 2 DESC")
        )
        rows = {str(name): int(number) for name, number in counted}
        rows["bytes"] = connection.scalar(
            text("SELECT pg_total_relation_size('event_logs') + pg_total_relation_size('asset_event_tags')")
        )
    engine.dispose()
    return rows


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


def print_figures(
    runs: list[dict[str, Any]], processes: Processes, rows: dict[str, int], puts: Mapping[str, int], n_countries: int
) -> None:
    """Print what the backfill took."""
    phases = {kind: Phase.of([run for run in runs if kind_of(run) == kind]) for kind in (FETCHING, DERIVING)}
    for kind, phase in phases.items():
        print(f"{kind}: {phase.n_runs} runs in {phase.seconds:.1f} s, the longest {phase.longest_s:.1f} s")
    fetching, n_bytes = phases[FETCHING], rows.pop("bytes")
    print(f"partitions: {n_countries / fetching.seconds:.1f} a second")
    print(f"event rows: {sum(rows.values())}, {sum(rows.values()) / fetching.seconds:.0f} a second of fetching")
    print(f"event log: {n_bytes / n_countries / 1000:.1f} kB a partition")
    print("    " + ", ".join(f"{name} {number}" for name, number in list(rows.items())[:8]))
    print(
        f"requests of the bucket: {dict(puts)}; puts {puts.get('PUT', 0) / fetching.seconds:.0f} a second of fetching"
    )
    for role, used in sorted(processes.used().items(), key=lambda pair: -pair[1].cpu_s):
        print(f"{role or 'other'}: {used.cpu_s:.1f} s of processor time, largest process {used.peak_mb:.0f} MB")


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
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        started_at = time.time()
        backfill = fleet.backfill_all()
        runs = settled_runs(fleet, backfill, timeout_s=given.timeout_s)
        print(f"from the launch until all was quiet: {time.time() - started_at:.0f} s; load {os.getloadavg()[0]:.1f}")
        rows = rows_of(fleet.environment["DAGSTER_PG_URL"])
        print_figures(runs, processes, rows, seaweed.requests(), given.countries)
        sys.stdout.flush()
        partitions = "/assets/flag_image?view=partitions"
        print_page(fleet, partitions, f"Materialized ({given.countries})", "PartitionHealthQuery")
        print_page(fleet, f"/runs/b/{backfill}", "100% completed", "BackfillDetailsQuery")
        print(f"webserver after the pages: {processes.used()['webserver'].peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
