"""Launches in this process or in one of their own: the command line, `dagster job execute`, `dg launch`."""

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click.testing
import dagster as dg
import typer.testing
from dagster._cli.job import job_execute_command
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster_dg_cli.cli.launch import launch_command

from flag_pipeline.cli.app import app
from flag_pipeline_tests.matrix.axes import End, Origin, Partitions, Way
from flag_pipeline_tests.matrix.environment import environment
from flag_pipeline_tests.matrix.source import Source

# A busy machine starts a process slowly.
_PATIENCE_S = 200
DEFINITIONS = ("-m", "flag_pipeline.definitions")
# One field of each resource, as a person sets it in the launchpad.
ONE_FIELD = {
    "flag_source": {"config": {"requests_per_second": 500.0}},
    "file_sink": {"config": {"sink_threads": 2}},
}


@dataclass(frozen=True, slots=True)
class Request:
    """What one launch is: the way, what it asks for, and the settings that it has.

    Attributes:
        codes: what is asked for, in order.
        environment: settings of the process, `DAGSTER_HOME` among them.
        options: of the command line.
        folder: where the process runs, with the files that it reads.
    """

    way: Way
    origin: Origin
    partitions: Partitions
    codes: Sequence[str]
    environment: Mapping[str, str]
    options: Sequence[str]
    folder: Path
    end: End

    @property
    def tags(self) -> dict[str, str]:
        """The tags by which Dagster asks for a partition or a range."""
        match self.partitions:
            case Partitions.ONE:
                return {"dagster/partition": self.codes[0]}
            case Partitions.SCATTERED:
                return {}
            case _:
                return dict(zip(RANGE_TAGS, self.ends_of_range, strict=True))

    @property
    def ends_of_range(self) -> tuple[str, str]:
        """The first and the last code, the other way round where the range is reversed."""
        first, last = self.codes[0], self.codes[-1]
        return (last, first) if self.partitions is Partitions.REVERSED else (first, last)

    @property
    def run_config(self) -> dict[str, Any]:
        """The run configuration that a person would give."""
        config: dict[str, Any] = {"resources": ONE_FIELD} if self.origin is Origin.ONE_FIELD else {}
        if self.partitions is Partitions.SCATTERED:
            config["ops"] = {"fetch_flags": {"config": {"countries": [*self.codes]}}}
        return config


RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass(frozen=True, slots=True)
class Launched:
    """What came of a launch.

    Attributes:
        exit_code: None where no process of ours executed the run.
        report: what the command printed as JSON.
    """

    exit_code: int | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""


def command(settings: Mapping[str, str], *arguments: str) -> tuple[int, Any]:
    """Run `flag-pipeline` in this process; return its exit code and the object that it prints."""
    with environment(settings):
        result = typer.testing.CliRunner().invoke(app, [*arguments, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, json.loads(result.stdout) if result.stdout else {}


def launch(request: Request, source: Source) -> Launched:
    """Launch in this process, or in one that is interrupted or killed when the source holds its answer."""
    arguments = _arguments(request)
    if request.end in {End.INTERRUPTED, End.KILLED}:
        return _stopped(request, arguments, source)
    if request.way is Way.COMMAND:
        exit_code, report = command(request.environment, *arguments[1:-1])
        return Launched(exit_code, report)
    _forget_definitions()
    target = job_execute_command if request.way is Way.EXECUTE else launch_command
    with environment(request.environment), warnings.catch_warnings():
        # Of its command in favour of `dg launch`.
        warnings.simplefilter("ignore", dg.SupersessionWarning)
        result = click.testing.CliRunner().invoke(
            target, arguments[3:] if request.way is Way.EXECUTE else arguments[2:]
        )
    return Launched(result.exit_code, output=f"{result.output}{result.exception!r}")


def _forget_definitions() -> None:
    """Have Dagster reload the definitions, as a new process does: it keeps those of the latest launch."""
    ReconstructableJob.get_definition.cache_clear()
    ReconstructableJob.get_repository_definition.cache_clear()


def _arguments(request: Request) -> list[str]:
    """The command as a shell would run it, its program first."""
    if request.way is Way.COMMAND:
        return ["flag-pipeline", "run", *request.codes, *request.options, "--json"]
    if request.way is Way.EXECUTE:
        config = request.folder / "run.yaml"
        config.write_text(json.dumps(request.run_config))
        job = ["dagster", "job", "execute", *DEFINITIONS, "-j", "refresh_flags", "-c", str(config)]
        return [*job, "--tags", json.dumps(request.tags)]
    wanted = (
        ["--partition", request.codes[0]]
        if request.partitions is Partitions.ONE
        else ["--partition-range", "...".join(request.ends_of_range)]
    )
    assets = ["--assets", "country_metadata,flag_image"]
    return ["dg", "launch", *DEFINITIONS, *assets, *wanted, "--config-json", json.dumps(request.run_config)]


def _stopped(request: Request, arguments: Sequence[str], source: Source) -> Launched:
    """Execute in a process of its own, and stop it as soon as it waits for the held country."""
    with subprocess.Popen(
        [str(Path(sys.executable).with_name(arguments[0])), *arguments[1:]],
        cwd=request.folder,
        env={**os.environ, **request.environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            if not source.is_held.wait(timeout=_PATIENCE_S):
                raise AssertionError("the held country was not asked for")
            process.send_signal(signal.SIGINT if request.end is End.INTERRUPTED else signal.SIGKILL)
            output, errors = process.communicate(timeout=_PATIENCE_S)
        finally:
            process.kill()
    report = json.loads(output) if request.way is Way.COMMAND and output else {}
    return Launched(process.returncode, report, output + errors)
