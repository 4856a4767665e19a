"""Launches through the real webserver, and through the daemon where that makes the runs."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flag_pipeline.settings import project_root
from flag_pipeline_tests.e2e.deployment import LOCATION, Deployment, wait_for
from flag_pipeline_tests.matrix.axes import End, Origin, Way
from flag_pipeline_tests.matrix.launching import RANGE_TAGS, Launched, Request
from flag_pipeline_tests.matrix.source import Source

ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
ASSETS = [{"path": ["country_metadata"]}, {"path": ["flag_image"]}]


@contextmanager
def _deployed(request: Request) -> Iterator[Deployment]:
    """Start a webserver in the request's folder, whose `.env` it reads."""
    shutil.copy(project_root() / "workspace.yaml", request.folder)
    home = Path(request.environment["DAGSTER_HOME"])
    settings = dict(request.environment)
    if request.origin is Origin.DOTENV:
        given = {name: settings.pop(name) for name in ("FLAG_SOURCE", "FLAG_STORE")}
        (request.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    deployment = Deployment(home, settings, config=home / "dagster.yaml", folder=request.folder)
    try:
        deployment.start_webserver()
        yield deployment
    finally:
        deployment.stop()


def launch(request: Request, source: Source, parent: str) -> Launched:
    """Launch as the UI or the daemon does, *parent* being the run that a re-execution repeats."""
    with _deployed(request) as deployment:
        if request.way in {Way.BACKFILL, Way.CHUNKS}:
            _backfill(deployment, request, source)
            return Launched()
        runs = [_launch_run(deployment, tags, run_config) for tags, run_config in _requests(deployment, request)] or [
            deployment.reexecute_run(parent)
        ]
        _stop_if_wanted(deployment, request, source, runs)
        if request.end is not End.KILLED:
            for run in runs:
                deployment.finished_run(run)
    return Launched()


def _requests(deployment: Deployment, request: Request) -> list[tuple[dict[str, str], Any]]:
    """Tags and run configuration of each run that the way asks for, none where it repeats a run."""
    match request.way:
        case Way.GRAPHQL:
            return [(request.tags, request.run_config)]
        case Way.SCHEDULE:
            return [(tags, {}) for tags in deployment.schedule_tick("daily_refresh", time.time())]
        case Way.HEALING:
            return _healing_requests(deployment)
        case _:
            return []


def _launch_run(deployment: Deployment, tags: dict[str, str], run_config: Any) -> str:
    started = deployment.ask(
        """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
            __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
        params={
            "selector": {**LOCATION, "jobName": "refresh_flags"},
            "runConfigData": run_config,
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        },
    )
    return str(started["launchRun"]["run"]["runId"])


def _healing_requests(deployment: Deployment) -> list[tuple[dict[str, str], Any]]:
    answer = deployment.ask(
        """mutation ($selector: SensorSelector!) { sensorDryRun(selectorData: $selector, cursor: "") {
            __typename ... on PythonError { message } ... on DryRunInstigationTick { evaluationResult {
            skipReason error { message } runRequests { runConfigYaml tags { key value } } } } } }""",
        selector={**LOCATION, "sensorName": "healing"},
    )
    result = answer["sensorDryRun"]["evaluationResult"]
    if not result["runRequests"]:
        raise AssertionError(f"the healing sensor asks for no run: {result}")
    return [({tag["key"]: tag["value"] for tag in run["tags"]}, run["runConfigYaml"]) for run in result["runRequests"]]


def _stop_if_wanted(deployment: Deployment, request: Request, source: Source, runs: Sequence[str]) -> None:
    """End the runs as the UI does, or kill the webserver with all its processes."""
    if request.end not in {End.INTERRUPTED, End.KILLED}:
        return
    if not source.is_held.wait(timeout=90):
        raise AssertionError("the held country was not asked for within 90 s")
    if request.end is End.KILLED:
        deployment.kill()
        return
    for run in runs:
        deployment.ask(
            """mutation ($id: String!) { terminateRun(runId: $id) {
                __typename ... on PythonError { message } } }""",
            id=run,
        )


def _backfill(deployment: Deployment, request: Request, source: Source) -> None:
    """Launch a backfill of the codes, and wait until each of them was in a run that has ended."""
    started = deployment.ask(
        """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
        params={"assetSelection": ASSETS, "partitionNames": [*request.codes]},
    )
    backfill = str(started["launchPartitionBackfill"]["backfillId"])
    deployment.start_daemon()

    def runs() -> list[dict[str, Any]]:
        tagged = deployment.runs_of("flag_image")
        return [run for run in tagged if _tags(run).get("dagster/backfill") == backfill]

    def covered() -> list[dict[str, Any]] | None:
        found = runs()
        return found if {*request.codes} <= {code for run in found for code in _codes_of(run, request.codes)} else None

    def ended() -> bool | None:
        return all(run["status"] in ENDED for run in runs()) or None

    launched = wait_for("the runs of the backfill", covered, timeout_s=150)
    _stop_if_wanted(deployment, request, source, [run["runId"] for run in launched])
    wait_for("the end of the runs of the backfill", ended, timeout_s=120)


def _tags(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def _codes_of(run: dict[str, Any], codes: Sequence[str]) -> list[str]:
    tags = _tags(run)
    if "dagster/partition" in tags:
        return [tags["dagster/partition"]]
    first, last = (tags.get(name, "") for name in RANGE_TAGS)
    return [code for code in codes if first <= code <= last]
