"""Launches as the UI makes them, in a deployment whose settings come from its environment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flag_pipeline_tests.e2e.deployment import Deployment
from flag_pipeline_tests.flag_server import FlagServer, running_flag_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]

CHINA = {"dagster/partition": "CN"}


@pytest.fixture(scope="module")
def server() -> Iterator[FlagServer]:
    """The source of the deployment."""
    with running_flag_server() as server:
        yield server


@pytest.fixture(scope="module")
def deployment(server: FlagServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A webserver, which launches runs in other processes."""
    folder = tmp_path_factory.mktemp("deployment")
    (folder / "home").mkdir()
    settings = {"FLAG_SOURCE": server.url, "FLAG_STORE": str(folder / "store")}
    # Runs are started at once instead of by the daemon's queue.
    config = folder / "dagster.yaml"
    config.write_text(
        "telemetry: {enabled: false}\n"
        "run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}\n"
    )
    deployment = Deployment(folder / "home", settings, config=config)
    try:
        deployment.start_webserver()
        yield deployment
    finally:
        deployment.stop()


def test_a_launch_with_one_field_uses_the_environments_source_and_store(
    deployment: Deployment, server: FlagServer
) -> None:
    """The run uses the deployment's source and store when the configuration does not name them."""
    server.requests.clear()
    resources = {"flag_source": {"config": {"requests_per_second": 50.0}}, "file_sink": {"config": {"sink_threads": 2}}}

    run = deployment.launch_refresh(CHINA, resources=resources)

    assert deployment.finished_run(run) == "SUCCESS"
    assert set(server.codes_asked_for()) == {"CN"}
    assert (Path(deployment.environment["FLAG_STORE"]) / "records" / "CN.json").is_file()


def test_a_launch_with_another_source_or_store_is_refused(
    deployment: Deployment, flag_server: FlagServer, tmp_path: Path
) -> None:
    """No request reaches the other source, no folder is made in the other store, and the failure names the setting."""
    elsewhere = tmp_path / "elsewhere"
    runs = {
        setting: deployment.launch_refresh(CHINA, resources=resources)
        for setting, resources in {
            "FLAG_ALLOWED_SOURCES": {"flag_source": {"config": {"source": flag_server.url}}},
            "FLAG_ALLOWED_STORES": {"file_sink": {"config": {"store": str(elsewhere)}}},
        }.items()
    }

    for setting, run in runs.items():
        assert deployment.finished_run(run) == "FAILURE"
        assert setting in deployment.failure_of(run)
    assert flag_server.requests == []
    assert not elsewhere.exists()


def test_a_launch_of_a_reversed_range_fails(deployment: Deployment, server: FlagServer) -> None:
    """The failure says how the range should be, and nothing is fetched."""
    server.requests.clear()

    run = deployment.launch_refresh(
        {"dagster/asset_partition_range_start": "IT", "dagster/asset_partition_range_end": "FR"}
    )

    assert deployment.finished_run(run) == "FAILURE"
    assert "the range from IT to FR is reversed: choose FR to IT" in deployment.failure_of(run)
    assert server.requests == []
