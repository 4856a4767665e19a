"""The fleet of deploy/distributed/ at work: a backfill over workers, one of which is killed, into a bucket."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.layout import CATALOG_PATH, FLAGS, METADATA, RECORDS, code_of, record_path
from flag_pipeline.core.records import load_record
from flag_pipeline.stores.open_store import open_store
from flag_pipeline.stores.store import Store
from flag_pipeline_tests.e2e.deployment import wait_for
from flag_pipeline_tests.e2e.fleet import Fleet, running_fleet
from flag_pipeline_tests.flag_server import FlagServer, answer, flag_url_path, hang, running_flag_server
from flag_pipeline_tests.samples import picture
from flag_pipeline_tests.seaweed import SeaweedFS

pytestmark = [pytest.mark.distributed, pytest.mark.e2e, pytest.mark.timeout(400)]

CODES = list(iso_codes())
FAILING = {"BR", "FR", "ZA"}
# In the first chunk of 50: its run hangs at this country until its worker is killed.
HANGING = "BE"
MAX_REQUESTS = 8
POOL_LIMIT = 2
ASSETS = ("country_metadata", "flag_image")


@pytest.fixture(scope="module")
def server() -> Iterator[FlagServer]:
    """The source, which the tests break and mend."""
    with running_flag_server() as server:
        yield server


@pytest.fixture(scope="module")
def url(seaweed: SeaweedFS) -> str:
    """Where the fleet stores."""
    return f"{seaweed.make_bucket('flags')}/fleet"


@pytest.fixture(scope="module")
def fleet(
    server: FlagServer, seaweed: SeaweedFS, url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Two workers; healing is off, because the test runs by hand what failed."""
    settings = {
        "FLAG_SOURCE": server.url,
        "FLAG_STORE": url,
        "FLAG_ATTEMPTS": "1",
        # What hangs has to hang until its worker is killed.
        "FLAG_TIMEOUT_S": "600",
        "FLAG_READ_TIMEOUT_S": "600",
        "FLAG_MAX_REQUESTS": str(MAX_REQUESTS),
        "FLAG_MAX_PARTITIONS_PER_RUN": "50",
    }
    with running_fleet(tmp_path_factory.mktemp("fleet"), seaweed, settings, workers=["one", "two"]) as fleet:
        fleet.switch_sensor("healing", on=False)
        yield fleet


@pytest.fixture
def store(seaweed: SeaweedFS, url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The bucket, looked at past the fleet."""
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    return open_store(url)


def catalog_of(store: Store) -> list[dict[str, Any]]:
    """The rows of the stored catalog."""
    rows: list[dict[str, Any]] = json.loads(store.read(CATALOG_PATH))
    return rows


def codes_in(store: Store, folder: str) -> set[str]:
    """The countries that have a file there; hidden files are not of a country."""
    return {code_of(name) for name in store.names(folder) if not name.startswith(".")}


def most_at_once(runs: list[dict[str, Any]]) -> int:
    """How many of the runs were under way together, the first ones of a new instance included."""
    spans: list[tuple[float, float]] = [(run["startTime"], run["endTime"] or math.inf) for run in runs]
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


@dataclass(frozen=True, slots=True)
class Lost:
    """The run that was lost with its worker, and the backfill that it belonged to."""

    backfill: str
    run: str


@pytest.fixture(scope="module")
def lost(fleet: Fleet, server: FlagServer) -> Lost:
    """A backfill of everything in which three countries fail, and one worker is killed in the middle of a run."""
    for code in FAILING:
        server.break_country(code, answer(500))
    server.script(flag_url_path(HANGING), [hang])
    # More than one run asks for: they have to be at it at once.
    server.hold_until(MAX_REQUESTS + 1)
    backfill = fleet.backfill_all()
    fleet.start_daemon()

    def hanging_run() -> str | None:
        """The only run that is not over, once nothing else is left to fetch but what hangs."""
        runs = fleet.runs_of("country_metadata")
        running = [run["runId"] for run in runs if run["status"] == "STARTED"]
        is_alone = Counter(run["status"] for run in runs) == {"SUCCESS": 2, "FAILURE": 2, "STARTED": 1}
        return running[0] if is_alone and server.under_way == 1 else None

    run = wait_for("the end of all runs but the one that hangs", hanging_run, timeout_s=150)
    fleet.kill_worker(fleet.worker_of(run))
    return Lost(backfill, run)


def test_work_was_shared_and_the_source_spared(fleet: Fleet, lost: Lost, server: FlagServer) -> None:
    """Both workers executed runs within the pool's limit, and the last run of the killed worker has not ended."""
    runs = fleet.runs_of("country_metadata")
    assert all(fleet.tasks_of(name) for name in ("one", "two"))
    assert most_at_once(runs) == POOL_LIMIT
    assert MAX_REQUESTS < server.most_under_way <= POOL_LIMIT * MAX_REQUESTS
    assert [run["status"] for run in runs if run["runId"] == lost.run] == ["STARTED"]


def test_lost_run_is_terminated_by_hand(fleet: Fleet, lost: Lost, server: FlagServer) -> None:
    """What the killed worker had recorded stays, the rest is red with the three that failed; the fleet continues."""
    server.script(flag_url_path(HANGING), [])

    fleet.terminate_run(lost.run)

    assert fleet.finished_run(lost.run) == "CANCELED"
    assert fleet.finished_backfill(lost.backfill).startswith(("COMPLETED", "FAILED", "CANCELED"))
    for asset in ASSETS:
        stats = fleet.partition_stats(asset)
        assert stats["numMaterialized"] == len(CODES) - len(FAILING) - 1
        assert stats["numMaterializing"] == 0


def test_catalog_follows_the_backfill_once(fleet: Fleet, lost: Lost, store: Store) -> None:  # noqa: ARG001 - after it
    """The catalog is not rebuilt once per run; it has one row per country, with the reasons of the failed ones."""
    wait_for("the catalog's run", fleet.catalog_runs)

    assert fleet.settled_catalog_runs() == 1
    rows = catalog_of(store)
    assert [row["code"] for row in rows] == CODES
    assert {row["code"] for row in rows if row["status"] == "ok"} == {*CODES} - {*FAILING, HANGING}


def test_reexecution_from_failure_fetches_only_what_is_missing(
    fleet: Fleet, lost: Lost, server: FlagServer, store: Store
) -> None:
    """When two of the three are repaired, they and the lost ones are fetched into the bucket, and one stays red."""
    server.requests.clear()
    for code in FAILING - {"FR"}:
        server.break_country(code)

    again = fleet.reexecute_backfill(lost.backfill)

    assert fleet.finished_backfill(again) == "COMPLETED_FAILED"
    assert set(server.codes_asked_for()) == {*FAILING, HANGING}
    for asset in ASSETS:
        stats = fleet.partition_stats(asset)
        assert (stats["numMaterialized"], stats["numFailed"]) == (len(CODES) - 1, 1)
    for folder in (FLAGS, METADATA):
        assert codes_in(store, folder) == {*CODES} - {"FR"}
    assert codes_in(store, RECORDS) == {*CODES}


def test_catalog_follows_the_reexecution(fleet: Fleet, lost: Lost, store: Store) -> None:  # noqa: ARG001 - after it
    """The catalog is rebuilt with one row per country, and the failed one has its reason."""
    wait_for("the catalog's run", lambda: len(fleet.catalog_runs()) > 1)

    assert fleet.settled_catalog_runs() == 2
    rows = catalog_of(store)
    assert [row["code"] for row in rows] == CODES
    assert [(row["code"], bool(row["reason"])) for row in rows if row["status"] != "ok"] == [("FR", True)]


def test_two_runs_at_the_same_countries_do_no_harm(
    fleet: Fleet,
    lost: Lost,  # noqa: ARG001 - after it
    server: FlagServer,
    store: Store,
) -> None:
    """Two runs that fetch the same changed countries at once leave one whole file per country, as recorded."""
    stretch = CODES[: CODES.index("BA")]
    before = [fleet.partition_stats(asset) for asset in ASSETS]
    for code in stretch:
        server.script(flag_url_path(code), [answer(200, picture("GIF"))])
    server.hold_until(MAX_REQUESTS + 1)

    tags = {"dagster/asset_partition_range_start": stretch[0], "dagster/asset_partition_range_end": stretch[-1]}
    fleet.reload_code()
    runs = [fleet.launch_refresh(tags) for _ in range(2)]

    assert [fleet.finished_run(run) for run in runs] == ["SUCCESS", "SUCCESS"]
    assert [fleet.partition_stats(asset) for asset in ASSETS] == before
    files = [name for name in store.names(FLAGS) if name[:2] in stretch]
    assert [name[:2] for name in sorted(files)] == stretch
    for code in stretch:
        record = load_record(store.read(record_path(code)))
        assert record.image is not None
        assert store.read(record.image.file) == picture("GIF")
        assert record.image.sha256 == hashlib.sha256(picture("GIF")).hexdigest()
