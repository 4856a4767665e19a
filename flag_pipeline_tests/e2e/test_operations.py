"""A day in the life of the pipeline, against the real webserver and daemon, in the order in which it happens."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.images.thumbnails import EVENT_BOX
from flag_pipeline_tests.e2e import browser
from flag_pipeline_tests.e2e.deployment import Deployment, wait_for
from flag_pipeline_tests.flag_server import FlagServer, answer, flag_url_path, running_flag_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]

ASSETS = ("country_metadata", "flag_image")
CODES = list(iso_codes())
ALL_COUNTRIES = {"dagster/asset_partition_range_start": "AD", "dagster/asset_partition_range_end": "ZW"}
SCATTERED = CODES[5::20][:12]
# A one-pixel GIF, written by hand: header, 1x1 screen with two colours, one image block, trailer.
OTHER_FLAG = bytes.fromhex("47494638396101000100800000ff0000ffffff2c00000000010001000002024401003b")


@pytest.fixture(scope="module")
def server() -> Iterator[FlagServer]:
    """The source, which the tests break and mend."""
    with running_flag_server() as server:
        yield server


@pytest.fixture(scope="module")
def deployment(server: FlagServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Webserver and daemon, healing switched off until a test wants it."""
    folder = tmp_path_factory.mktemp("deployment")
    home = folder / "home"
    home.mkdir()
    settings = {
        "FLAG_SOURCE": server.url,
        "FLAG_STORE": str(folder / "store"),
        "FLAG_ATTEMPTS": "1",
        "FLAG_HEAL_DELAY_S": "1",
    }
    deployment = Deployment(home, settings)
    try:
        deployment.start_webserver()
        deployment.switch_sensor("healing", on=False)
        yield deployment
    finally:
        deployment.stop()


def test_backfill_with_two_failing_countries(deployment: Deployment, server: FlagServer) -> None:
    """FR and BR fail: the backfill ends COMPLETED_FAILED, 247 countries are green and fresh, two are red."""
    for code in ("BR", "FR"):
        server.break_country(code, answer(500))
    backfill = deployment.backfill_all()
    deployment.start_daemon()

    assert deployment.finished_backfill(backfill) == "COMPLETED_FAILED"

    fetched = [code for code in CODES if code not in {"BR", "FR"}]
    for asset in ASSETS:
        stats = deployment.partition_stats(asset)
        assert (stats["numMaterialized"], stats["numFailed"]) == (247, 2)
        assert set(deployment.stale_statuses(asset, fetched)) == {"FRESH"}


def test_catalog_follows_the_backfill_once(deployment: Deployment) -> None:
    """The automation sensor rebuilds the catalog exactly once after the partly failed sweep."""
    wait_for("the catalog's run", deployment.catalog_runs)

    deployment.settled_catalog_runs()

    assert [run["status"] for run in deployment.catalog_runs()] == ["SUCCESS"]


def test_backfill_from_failure_asks_only_for_what_failed(deployment: Deployment, server: FlagServer) -> None:
    """After the two countries recover, a re-execution from failure completes, and asked for nothing else."""
    for code in ("BR", "FR"):
        server.break_country(code)
    server.requests.clear()
    (first,) = deployment.backfills()

    second = deployment.reexecute_backfill(first)

    assert deployment.finished_backfill(second) == "COMPLETED_SUCCESS"
    assert set(server.codes_asked_for()) == {"BR", "FR"}
    assert deployment.partition_stats("flag_image")["numFailed"] == 0


def test_schedule_requests_one_ranged_run(deployment: Deployment) -> None:
    """A tick of the schedule is one run over all countries."""
    requests = deployment.schedule_tick("daily_refresh", time.time())

    assert [ALL_COUNTRIES.items() <= tags.items() for tags in requests] == [True]


def test_reexecution_of_a_run_leaves_the_others_green(deployment: Deployment, server: FlagServer) -> None:
    """A re-execution from failure that fails again asks for the failed country alone; the others stay materialized."""
    server.break_country("FR", answer(500))
    run = deployment.launch_refresh(ALL_COUNTRIES)
    assert deployment.finished_run(run) == "FAILURE"
    server.requests.clear()

    again = deployment.reexecute_run(run)

    assert deployment.finished_run(again) == "FAILURE"
    assert set(server.codes_asked_for()) == {"FR"}
    stats = deployment.partition_stats("flag_image")
    assert (stats["numMaterialized"], stats["numFailed"]) == (248, 1)
    server.break_country("FR")


def test_healing_mends_scattered_countries_in_one_run(deployment: Deployment, server: FlagServer) -> None:
    """Twelve scattered countries fail and recover: switched on, the healing sensor fixes them in exactly one run."""
    for code in SCATTERED:
        server.break_country(code, answer(503))
    run = deployment.launch_refresh(ALL_COUNTRIES)
    assert deployment.finished_run(run) == "FAILURE"
    assert deployment.partition_stats("flag_image")["numFailed"] == len(SCATTERED)
    n_runs = len(deployment.runs_of("refresh_flags"))
    for code in SCATTERED:
        server.break_country(code)
    server.requests.clear()

    deployment.switch_sensor("healing", on=True)
    wait_for("healing", lambda: deployment.partition_stats("flag_image")["numFailed"] == 0)
    deployment.ticks_after("healing", time.time(), 1)

    assert len(deployment.runs_of("refresh_flags")) == n_runs + 1
    assert set(server.codes_asked_for()) == {*SCATTERED}
    assert deployment.partition_stats("country_metadata")["numFailed"] == 0


def test_unchanged_refresh_does_not_rebuild_the_catalog(deployment: Deployment) -> None:
    """A refresh in which nothing changed requests no catalog run in the ticks that follow."""
    n_runs = deployment.settled_catalog_runs()

    assert deployment.finished_run(deployment.launch_refresh(ALL_COUNTRIES)) == "SUCCESS"
    ended_at = time.time()
    deployment.ticks_after("catalog_automation", ended_at, 2)
    deployment.ticks_after("catalog_follows_success", ended_at, 2)

    assert len(deployment.catalog_runs()) == n_runs


def test_one_changed_flag_rebuilds_the_catalog_once(deployment: Deployment, server: FlagServer) -> None:
    """One image changes at the source: the catalog goes stale and is rebuilt exactly once."""
    n_runs = len(deployment.catalog_runs())
    server.script(flag_url_path("CN"), [answer(200, OTHER_FLAG)])

    assert deployment.finished_run(deployment.launch_refresh(ALL_COUNTRIES)) == "SUCCESS"
    wait_for("the catalog's run", lambda: len(deployment.catalog_runs()) > n_runs)

    assert deployment.settled_catalog_runs() == n_runs + 1
    assert {run["status"] for run in deployment.catalog_runs()} == {"SUCCESS"}


@pytest.mark.skipif(browser.chromium() is None, reason="Chromium is not installed")
def test_ui_shows_the_partitions_and_a_flag(deployment: Deployment, artifacts: Path) -> None:
    """In a browser, the asset's page has the partition bar, and the page of a country has its picture."""
    with browser.page(width_px=1280, height_px=800) as page:
        page.goto(f"{deployment.url}/assets/flag_image?view=partitions&partition=FR")
        page.get_by_text("size_bytes").wait_for()
        picture = page.locator("img[alt=FR]")
        picture.wait_for()
        page.screenshot(path=artifacts / "ui-country.png")

        assert picture.evaluate("image => image.naturalWidth") == EVENT_BOX[0]
        assert page.get_by_text("Materialized (249)").is_visible()
