"""The real webserver and daemon on a temporary instance, spoken to as the UI speaks to them: in GraphQL."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from flag_pipeline.settings import project_root

T = TypeVar("T")

LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "flag_pipeline"}
POLL_S = 0.5


class DeploymentError(AssertionError):
    """The deployment did not do in time what the test waits for."""


def wait_for(what: str, probe: Callable[[], T | None], *, timeout_s: float = 90.0) -> T:
    """Return the first true answer of *probe*; other processes can only be asked again and again."""
    deadline = time.monotonic() + timeout_s
    while True:
        if found := probe():
            return found
        if time.monotonic() > deadline:
            raise DeploymentError(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(POLL_S)


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Deployment:
    """Webserver and daemon with a home, a store and settings of their own."""

    home: Path
    environment: dict[str, str]
    config: Path = field(default_factory=lambda: project_root() / "dagster_home" / "dagster.yaml")
    port: int = field(default_factory=free_port)
    folder: Path = field(default_factory=project_root)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address of the UI."""
        return f"http://127.0.0.1:{self.port}"

    def start_webserver(self) -> None:
        """Start it, and wait until it answers with the code location loaded."""
        self._copy_config()
        self._spawn("flag_pipeline.ui.webserver", "--port", str(self.port), "--workspace", "workspace.yaml")
        wait_for("the webserver's first answer", self._is_loaded)

    def start_ui(self) -> None:
        """Start webserver and daemon as `flag-pipeline ui` does."""
        self._copy_config()
        self._spawn("flag_pipeline", "ui", "--port", str(self.port))
        wait_for("the UI's first answer", self._is_loaded)

    def start_daemon(self) -> None:
        """Start it; it begins with a look at everything."""
        self._spawn("dagster._daemon", "run", "-w", "workspace.yaml")

    def stop(self) -> None:
        """End what was started, politely first."""
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kill(self) -> None:
        """Kill the webserver with everything that it has started, runs included, as a machine that loses power does."""
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)

    def _copy_config(self) -> None:
        if self.config.parent != self.home:
            shutil.copy(self.config, self.home)

    def _spawn(self, module: str, *arguments: str) -> None:
        with (self.home / f"{module}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self.folder,
                start_new_session=True,
                env={
                    **os.environ,
                    **self.environment,
                    "DAGSTER_HOME": str(self.home),
                    "DAGSTER_EVENT_BATCH_SIZE": "1000",
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)

    def _is_loaded(self) -> bool:
        try:
            entries = self.ask("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")
        except (urllib.error.URLError, ConnectionError):
            return False
        return [entry["loadStatus"] for entry in entries["workspaceOrError"]["locationEntries"]] == ["LOADED"]

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Send a query or a mutation and return its data."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 - our own server on loopback
            f"{self.url}/graphql", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
            answer = json.load(reply)
        if answer.get("errors"):
            raise DeploymentError(answer["errors"])
        data: dict[str, Any] = answer["data"]
        return data

    def status(self, method: str, path: str, **headers: str) -> int:
        """Send a request as a program does and return its status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            connection.request(method, path, headers=headers)
            return connection.getresponse().status

    def reload_code(self) -> None:
        """Do what "Reload" in the UI does: reload the code location.

        The webserver's code server ends itself when for 45 s it hears nothing of a busy webserver, which takes it for
        still loaded and answers 500 to a launch, until the user reloads it. Source: dagster-io/dagster #24050.
        """
        reloaded = self.ask(
            """mutation ($location: String!) { reloadRepositoryLocation(repositoryLocationName: $location) {
                __typename ... on WorkspaceLocationEntry { loadStatus } } }""",
            location=LOCATION["repositoryLocationName"],
        )
        if reloaded["reloadRepositoryLocation"].get("loadStatus") != "LOADED":
            raise DeploymentError(reloaded)

    def backfill_all(self) -> str:
        """Launch a backfill of every country for both fetching assets and return its id."""
        started = self.ask(
            """mutation ($params: LaunchBackfillParams!) {
                launchPartitionBackfill(backfillParams: $params) {
                    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            params={
                "assetSelection": [{"path": ["country_metadata"]}, {"path": ["flag_image"]}],
                "allPartitions": True,
            },
        )
        return str(started["launchPartitionBackfill"]["backfillId"])

    def reexecute_backfill(self, backfill_id: str) -> str:
        """Re-execute a backfill from failure and return the new one's id."""
        started = self.ask(
            """mutation ($params: ReexecutionParams) {
                reexecutePartitionBackfill(reexecutionParams: $params) {
                    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            params={"parentRunId": backfill_id, "strategy": "FROM_FAILURE"},
        )
        return str(started["reexecutePartitionBackfill"]["backfillId"])

    def backfills(self) -> list[str]:
        """The ids of all backfills, latest first."""
        answer = self.ask("{ partitionBackfillsOrError { ... on PartitionBackfills { results { id } } } }")
        return [backfill["id"] for backfill in answer["partitionBackfillsOrError"]["results"]]

    def finished_backfill(self, backfill_id: str, *, timeout_s: float = 150) -> str:
        """Wait until the backfill has ended and return its status."""

        def probe() -> str | None:
            answer = self.ask(
                """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
                    ... on PartitionBackfill { status } } }""",
                id=backfill_id,
            )
            status = str(answer["partitionBackfillOrError"]["status"])
            return status if status.startswith(("COMPLETED", "FAILED", "CANCELED")) else None

        return wait_for(f"the end of backfill {backfill_id}", probe, timeout_s=timeout_s)

    def launch_refresh(self, tags: dict[str, str], **run_config: Any) -> str:
        """Launch the job refresh_flags with *tags*, as a schedule does, and return the run's id."""
        started = self.ask(
            """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            params={
                "selector": {**LOCATION, "jobName": "refresh_flags"},
                "runConfigData": run_config,
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            },
        )
        return str(started["launchRun"]["run"]["runId"])

    def reexecute_run(self, run_id: str) -> str:
        """Re-execute a run from failure and return the new run's id."""
        started = self.ask(
            """mutation ($params: ReexecutionParams) { launchRunReexecution(reexecutionParams: $params) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            params={"parentRunId": run_id, "strategy": "FROM_FAILURE"},
        )
        return str(started["launchRunReexecution"]["run"]["runId"])

    def finished_run(self, run_id: str) -> str:
        """Wait until the run has ended and return its status."""

        def probe() -> str | None:
            answer = self.ask(
                "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }",
                id=run_id,
            )
            status = str(answer["runOrError"]["status"])
            return status if status in {"SUCCESS", "FAILURE", "CANCELED"} else None

        return wait_for(f"the end of run {run_id}", probe)

    def failure_of(self, run_id: str) -> str:
        """Everything that the UI shows of why a run failed."""
        answer = self.ask(
            """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
                ... on ErrorEvent { error { message causes { message } } }
                ... on ExecutionStepFailureEvent { failureMetadata { description } } } } } }""",
            id=run_id,
        )
        return json.dumps(answer)

    def runs(self) -> list[dict[str, Any]]:
        """All runs, latest first."""
        answer = self.ask(
            """{ runsOrError(limit: 200) { ... on Runs { results {
                runId status startTime endTime pipelineName assetSelection { path } tags { key value } } } } }"""
        )
        runs: list[dict[str, Any]] = answer["runsOrError"]["results"]
        return runs

    def runs_of(self, job: str) -> list[dict[str, Any]]:
        """The runs of a job, or of the asset of its name where automation launched them; latest first."""
        return [run for run in self.runs() if run["pipelineName"] == job or job in asset_paths(run)]

    def catalog_runs(self) -> list[dict[str, Any]]:
        """The runs that built the catalog."""
        runs = {run["runId"]: run for name in ("rebuild_catalog", "flag_catalog") for run in self.runs_of(name)}
        return list(runs.values())

    def settled_catalog_runs(self) -> int:
        """How many runs built the catalog, once all that watches over it has looked and its runs have ended."""
        now = time.time()
        for sensor in ("automation", "follows_success", "follows_failure", "follows_canceled"):
            self.ticks_after(f"catalog_{sensor}", now, 1)
        for run in self.catalog_runs():
            self.finished_run(run["runId"])
        return len(self.catalog_runs())

    def partition_stats(self, asset: str) -> dict[str, int]:
        """How many partitions of the asset the UI shows as what."""
        answer = self.ask(
            """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
                partitionStats { numPartitions numMaterialized numFailed numMaterializing } } } }""",
            key={"path": [asset]},
        )
        stats: dict[str, int] = answer["assetNodeOrError"]["partitionStats"]
        return stats

    def stale_statuses(self, asset: str, codes: list[str]) -> list[str]:
        """The stale status of each of *codes*."""
        answer = self.ask(
            """query ($key: AssetKeyInput!, $codes: [String!]) { assetNodeOrError(assetKey: $key) {
                ... on AssetNode { staleStatusByPartition(partitions: $codes) } } }""",
            key={"path": [asset]},
            codes=codes,
        )
        statuses: list[str] = answer["assetNodeOrError"]["staleStatusByPartition"]
        return statuses

    def sensor(self, name: str) -> dict[str, Any]:
        """The state of a sensor, with its latest ticks."""
        answer = self.ask(
            """query ($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) { ... on Sensor {
                sensorState { id status ticks(limit: 100) { tickId status skipReason runIds timestamp } } } } }""",
            selector={**LOCATION, "sensorName": name},
        )
        state: dict[str, Any] = answer["sensorOrError"]["sensorState"]
        return state

    def switch_sensor(self, name: str, *, on: bool) -> None:
        """Do what the sensor's switch in the UI does."""
        if on:
            self.ask(
                "mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) { __typename } }",
                selector={**LOCATION, "sensorName": name},
            )
        else:
            self.ask(
                "mutation ($id: String) { stopSensor(id: $id) { __typename } }",
                id=self.sensor(name)["id"],
            )

    def ticks_after(self, name: str, timestamp: float, n_ticks: int) -> list[dict[str, Any]]:
        """Wait until the sensor has ticked *n_ticks* times after *timestamp* and return those ticks."""

        def probe() -> list[dict[str, Any]] | None:
            ticks = [tick for tick in self.sensor(name)["ticks"] if tick["timestamp"] > timestamp]
            done = [tick for tick in ticks if tick["status"] != "STARTED"]
            return done if len(done) >= n_ticks else None

        return wait_for(f"{n_ticks} ticks of {name}", probe, timeout_s=120)

    def schedule_tick(self, name: str, timestamp: float) -> list[dict[str, str]]:
        """Evaluate the schedule as of *timestamp* and return the tags of each run that it requests."""
        answer = self.ask(
            """mutation ($selector: ScheduleSelector!, $at: Float) { scheduleDryRun(
                selectorData: $selector, timestamp: $at) { ... on DryRunInstigationTick {
                evaluationResult { runRequests { tags { key value } } } } } }""",
            selector={**LOCATION, "scheduleName": name},
            at=timestamp,
        )
        requests = answer["scheduleDryRun"]["evaluationResult"]["runRequests"]
        return [{tag["key"]: tag["value"] for tag in request["tags"]} for request in requests]


def asset_paths(run: Mapping[str, Any]) -> list[str]:
    """The keys of the assets that a run was launched for."""
    return ["/".join(key["path"]) for key in run["assetSelection"] or []]
