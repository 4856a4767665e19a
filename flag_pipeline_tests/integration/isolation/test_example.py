"""The example pipeline does what its text says."""

import http.server
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.isolation import read_statuses
from flag_pipeline.settings import project_root
from flag_pipeline_tests.integration.isolation.runs import colours, green, ranged, retrying

EXAMPLES = project_root() / "examples"


def load(name: str) -> ModuleType:
    """Import a file of the folder `examples`."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stations() -> Iterator[Any]:
    """The example's server, on a free port."""
    module = load("weather_server")
    module.Stations.log_message = lambda *_args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), module.Stations) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield module, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.timeout(300)
def test_its_definitions_are_valid(tmp_path: Path) -> None:
    """`dagster definitions validate` accepts the file."""
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-f", str(EXAMPLES / "weather.py")]
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}

    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)

    assert done.returncode == 0, done.stderr


def test_a_station_that_is_down_costs_no_other_its_temperature(
    instance: dg.DagsterInstance, stations: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range with two failures and an absence, the re-execution of it, and the asset downstream."""
    server, url = stations
    monkeypatch.setenv("WEATHER_URL", url)
    weather = load("weather")
    everywhere = ranged("Bergen", "Quito")
    job = weather.defs.resolve_job_def("read_stations")

    first = job.execute_in_process(instance=instance, tags=everywhere, raise_on_error=False)
    assert not first.success
    red = ["Cairo", "Oslo", "Quito"]
    assert colours(instance, weather.temperature)["temperature"] == (["Bergen", "Lima", "Perth"], red)
    statuses = read_statuses(instance, weather.temperature.key, red)
    assert (list(statuses.failed), list(statuses.absent)) == (["Cairo", "Oslo"], ["Quito"])
    assert statuses.failed["Oslo"].reason == "HTTP Error 503: Service Unavailable"

    server.down.clear()
    second = job.execute_in_process(instance=instance, tags=everywhere | retrying(first))
    assert second.success
    assert {event.partition for event in second.get_asset_materialization_events()} == {"Cairo", "Oslo"}
    assert colours(instance, weather.temperature)["temperature"][1] == []

    everything = weather.defs.resolve_implicit_global_asset_job_def()
    both = everything.execute_in_process(instance=instance, partition_key="Oslo")
    assert both.success
    assert green(instance, "forecast") == ["Oslo"]
