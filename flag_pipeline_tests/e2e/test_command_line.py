"""The installed command line, run as a user runs it: in a process of its own, on a home and a store of its own."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.cli.runs import open_instance
from flag_pipeline.settings import project_root
from flag_pipeline.stores.atomic_files import TEMPORARY_PREFIX
from flag_pipeline_tests.flag_server import FlagServer, answer, hang
from flag_pipeline_tests.pictures import scans

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class CommandLine:
    """`flag-pipeline` with its own environment."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which must be the expected exit code."""
        with self.start(*arguments) as process:
            output, errors = process.communicate()
        assert process.returncode == expect, (arguments, output, errors)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [Path(sys.executable).with_name("flag-pipeline"), *arguments],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @contextmanager
    def mirror(self, *arguments: str) -> Iterator[str]:
        """Serve flags with the command's knobs, and give the address."""
        with self.start("mirror", "--port", "0", *arguments) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline().strip()
            finally:
                process.send_signal(signal.SIGINT)

    def json(self, *arguments: str, expect: int = 0) -> Any:
        """Run a command and return the one object that it prints."""
        return json.loads(self(*arguments, "--json", expect=expect).stdout)

    @property
    def store(self) -> Path:
        """Where it stores."""
        return self.folder / "store"

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Open the instance that the commands write to."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DAGSTER_HOME", self.environment["DAGSTER_HOME"])
            with open_instance() as instance:
                yield instance

    def fetching_runs(self) -> dict[str, dg.DagsterRunStatus]:
        """How the fetching runs stand, oldest first."""
        with self.instance() as instance:
            runs = instance.get_runs(dg.RunsFilter(job_name="refresh_flags"), ascending=True)
        return {run.run_id: run.status for run in runs}

    def catalog(self) -> dict[str, dict[str, str]]:
        """The catalog's rows by code."""
        with (self.store / "catalog" / "catalog.csv").open(newline="", encoding="utf-8") as file:
            return {row["code"]: row for row in csv.DictReader(file)}


@pytest.fixture
def flag_pipeline(tmp_path: Path) -> CommandLine:
    """The command line on a fresh home, with the instance's settings as they are committed."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_bytes((project_root() / "dagster_home" / "dagster.yaml").read_bytes())
    settings = {"DAGSTER_HOME": str(home), "FLAG_STORE": str(tmp_path / "store"), "FLAG_RETRY_INITIAL_S": "0.01"}
    return CommandLine(tmp_path, {**os.environ, **settings})


SECRET = "hunter2"  # noqa: S105 - made up


def bytes_below(folder: Path) -> bytes:
    """The content of every file below the folder, and the name of each."""
    return b"\n".join(
        str(path).encode() + b"\n" + (path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*")
    )


@pytest.mark.parametrize(
    ("variable", "command"),
    [
        (f"FLAG_SOURCE=https://user:{SECRET}@127.0.0.1:9/flags", "run CN"),
        (f"FLAG_SOURCE=https//user:{SECRET}@127.0.0.1:9/flags", "run CN --json"),
        (f"FLAG_SOURCE=flagcdn@http://127.0.0.1:9/?key={SECRET}", "retry"),
        (f"FLAG_SOURCE=https://{SECRET}@127.0.0.1:9", "status"),
        (f"FLAG_STORE=s3://user:{SECRET}@bucket/flags", "run CN --json"),
        (f"FLAG_STORE=memory://user:{SECRET}@flags", "catalog"),
        (f"FLAG_ALLOWED_SOURCES=https://user:{SECRET}@127.0.0.1:9", "run CN"),
        (f"FLAG_ALLOWED_STORES=s3://user:{SECRET}@bucket", "run CN"),
        (f"FLAG_REDIRECT_HOSTS=user:{SECRET}@127.0.0.1", "run CN"),
        (f"AWS_ENDPOINT_URL=http://user:{SECRET}@127.0.0.1:9", "run CN"),
        (f"FLAG_SOURCE=https://user:{SECRET}@127.0.0.1:9", "ui --port 1"),
        (f"FLAG_SORCE={SECRET}", "run CN"),
        ("", f"run CN --source https://user:{SECRET}@127.0.0.1:9"),
        ("", f"run CN --json --store s3://user:{SECRET}@bucket"),
        ("", f"coverage --source https://127.0.0.1:9/?key={SECRET}"),
    ],
)
def test_secret_in_an_address_is_refused_in_one_line_and_found_nowhere(
    flag_pipeline: CommandLine, variable: str, command: str
) -> None:
    """A secret in an address is a usage error of one line that names the setting; the secret is not shown or stored."""
    name, _, value = variable.partition("=")
    environment = {**flag_pipeline.environment, **({name: value} if name else {})}

    done = replace(flag_pipeline, environment=environment)(*command.split(), expect=2)

    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"flag-pipeline: {name or 'FLAG_'}")
    assert SECRET not in done.stderr
    assert SECRET.encode() not in bytes_below(flag_pipeline.folder)


def test_run_fetches_every_country_of_the_world(flag_pipeline: CommandLine) -> None:
    """The README's first command saves 249 flags and 249 metadata files, and a catalog of 249 rows that are all ok."""
    done = flag_pipeline("run")

    assert "249 requested: 249 saved, 0 unchanged, 0 not found, 0 failed" in done.stdout
    assert len(list((flag_pipeline.store / "flags").glob("??-*.gif"))) == 249
    assert len(list((flag_pipeline.store / "metadata").glob("??.json"))) == 249
    assert json.loads((flag_pipeline.store / "metadata" / "CI.json").read_bytes())["name"] == "Côte d'Ivoire"
    rows = flag_pipeline.catalog()
    assert len(rows) == 249
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert flag_pipeline.json("status")["flag_image"] == {
        "materialized": 249,
        "failed": [],
        "not_found": [],
        "missing": [],
    }


def test_selection_by_code_letter_and_group(flag_pipeline: CommandLine, flag_server: FlagServer) -> None:
    """A code in any case, a letter and POP20 fetch only those countries, and --limit fetches the first of them."""
    source = ("--source", flag_server.url)
    report = flag_pipeline.json("run", "cn", "IN", "Us", *source)
    assert (report["requested"], report["saved"]) == (3, 3)
    flag_server.requests.clear()

    assert flag_pipeline.json("run", "B", *source)["requested"] == len(flag_server.codes_asked_for())
    assert {code[0] for code in flag_server.codes_asked_for()} == {"B"}
    assert flag_pipeline.json("run", "POP20", "-l", "5", *source)["requested"] == 5


def test_failures_are_reported_kept_apart_and_healed(flag_pipeline: CommandLine, flag_server: FlagServer) -> None:
    """When FR answers 500 and DE 404, the run fails, the others are saved, and a retry fetches only the rest."""
    source = ("--source", flag_server.url)
    flag_pipeline("run", *source)
    flag_server.break_country("FR", answer(500))
    flag_server.break_country("DE", answer(404))

    report = flag_pipeline.json("run", *source, expect=1)

    reason = f"{flag_server.url}/fr/metadata.json answered 500"
    assert report["failed"] == {"FR": {"kind": "server_error", "reason": reason}}
    assert report["not_found"] == ["DE"]
    assert (report["unchanged"], report["retries"], report["catalog_rows"]) == (247, 3, 249)
    standing = flag_pipeline.json("status")["flag_image"]
    assert (standing["materialized"], standing["failed"], standing["not_found"]) == (247, ["FR"], ["DE"])
    row = flag_pipeline.catalog()["FR"]
    assert (row["status"], row["reason"]) == ("stale", f"server_error: {reason}")
    assert (flag_pipeline.store / row["file"]).is_file()

    flag_server.break_country("FR")
    flag_server.requests.clear()
    healed = flag_pipeline.json("retry", *source)

    assert set(flag_server.codes_asked_for()) == {"DE", "FR"}
    assert (healed["requested"], healed["failed"], healed["not_found"]) == (2, {}, ["DE"])
    assert flag_pipeline.catalog()["FR"]["status"] == "ok"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "XX"), "'XX' selects no country; use names, codes such as CN, CHN or 156, a letter, or POP20"),
        (("run", "--source", "gopher://x"), "unknown source 'gopher://x'"),
        (("run", "-m", "9999"), "max_requests"),
        (("retry", "--nonsense"), "No such option"),
    ],
)
def test_mistakes_are_answered_in_one_line(flag_pipeline: CommandLine, arguments: tuple[str, ...], said: str) -> None:
    """A usage error is exit code 2 with what to do on stderr, and nothing on stdout."""
    done = flag_pipeline(*arguments, expect=2)

    assert done.stdout == ""
    assert said.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_ctrl_c_keeps_what_was_recorded(flag_pipeline: CommandLine) -> None:
    """An interrupted run has exit code 130 and leaves no temporary file, and the next run fetches only the rest."""
    with flag_pipeline.mirror("--delay", "0.05") as url:
        with flag_pipeline.start("run", "A", "B", "--source", url, "-m", "1") as process:
            # Files come first: when the fourth country's are in place, the third one's events are stored.
            until(lambda: len(list(flag_pipeline.store.glob("records/*.json"))) >= 4)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=20)

        assert process.returncode == 130
        assert "retry" in output
        files = [path for path in flag_pipeline.store.rglob("*") if path.is_file()]
        assert [path for path in files if path.name.startswith(TEMPORARY_PREFIX)] == []
        n_kept = flag_pipeline.json("status")["flag_image"]["materialized"]
        assert 3 <= n_kept < 37
        assert flag_pipeline.json("run", "A", "B", "--source", url)["failed"] == {}
    assert flag_pipeline.json("status")["flag_image"]["materialized"] == 37


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux tells there what threads do")
def test_ctrl_c_does_not_wait_for_the_picture_that_is_decoded(
    flag_pipeline: CommandLine, flag_server: FlagServer
) -> None:
    """Ctrl-C ends the command at once, with no process left, even while a picture is decoded that takes a minute."""
    flag_server.script("/ad/ad.gif", [answer(200, scans(10_000, side=4000))])
    slow = {"FLAG_MAX_SCANS": "10000", "FLAG_MAX_PIXELS": "16000000", "FLAG_MAX_BODY_BYTES": "9000000"}
    patient = CommandLine(flag_pipeline.folder, {**flag_pipeline.environment, **slow})

    with patient.start("run", "AD", "--source", flag_server.url) as process:
        until(lambda: "/ad/ad.gif" in flag_server.requests)
        until(lambda: any(each != process.pid and ticks(each) > 50 for each in processes_of(patient)))
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)

    assert process.returncode == 130, (output, errors)
    assert "Traceback" not in errors
    assert processes_of(patient) == []


def ticks(process_id: int) -> int:
    """Hundredths of a second for which the process has worked."""
    return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[11])


def processes_of(command_line: CommandLine) -> list[int]:
    """The processes that live with the environment of *command_line*."""
    home = f"DAGSTER_HOME={command_line.environment['DAGSTER_HOME']}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if home in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_a_killed_run_is_marked_as_ended_and_blocks_nobody(
    flag_pipeline: CommandLine, status: dg.DagsterRunStatus
) -> None:
    """After kill -9 the next command fails the orphaned run, frees its pool slot, and continues.

    One that was told to terminate before has done so; any other failed.
    """
    with flag_pipeline.mirror("--delay", "0.05") as url:
        with flag_pipeline.start("run", "A", "--source", url, "-m", "1") as process:
            until(lambda: len(list(flag_pipeline.store.glob("records/*.json"))) >= 2)
            if status == dg.DagsterRunStatus.CANCELED:
                with flag_pipeline.instance() as instance:
                    instance.report_run_canceling(instance.get_runs()[0])
            process.kill()

        assert flag_pipeline.json("run", "A", "--source", url)["failed"] == {}
    assert flag_pipeline.json("status")["flag_image"]["failed"] == []
    assert [*flag_pipeline.fetching_runs().values()] == [status, dg.DagsterRunStatus.SUCCESS]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_retry_picks_up_what_an_ended_refresh_did_not_ask_for(
    flag_pipeline: CommandLine, flag_server: FlagServer, number: signal.Signals
) -> None:
    """When a refresh of 16 countries is ended while it waits for AR, `retry` asks for the countries that are left."""
    source = ("--source", flag_server.url)
    flag_pipeline("run", "A", *source)
    flag_server.script("/ar/metadata.json", [hang])
    with flag_pipeline.start("run", "A", *source, "-m", "1") as process:
        until(lambda: flag_server.requests.count("/ar/metadata.json") > 1)
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)
    flag_server.script("/ar/metadata.json", [])

    told = flag_pipeline.json("status")["flag_image"]

    assert told["materialized"] == 16
    assert "AR" in told["not_asked"]
    if number != signal.SIGKILL:
        n_not_asked = len(told["not_asked"])
        assert f"16 requested: 0 saved, {16 - n_not_asked} unchanged, 0 not found, 0 failed" in output
        assert f"{n_not_asked} not asked" in output
        assert f"Fetch the rest: flag-pipeline retry --source {flag_server.url}" in output
    flag_server.requests.clear()
    flag_pipeline("retry")
    assert {*told["not_asked"]} <= {*flag_server.codes_asked_for()}
    assert not {"AD", "AE"} & {*flag_server.codes_asked_for()}


@contextmanager
def one_fetching(flag_pipeline: CommandLine, url: str) -> Iterator[subprocess.Popen[str]]:
    """Give a run that has begun to fetch, and would take half a minute."""
    with flag_pipeline.start("run", "A", "B", "--source", url, "-m", "1") as process:
        try:
            until(lambda: len(list(flag_pipeline.store.glob("records/*.json"))) >= 1)
            yield process
        finally:
            process.kill()


def test_a_run_that_waits_for_another_says_so_and_can_be_interrupted(flag_pipeline: CommandLine) -> None:
    """A waiting command names the run that holds the pool; Ctrl-C cancels the command, and the other run continues."""
    with flag_pipeline.mirror("--delay", "0.5") as url, one_fetching(flag_pipeline, url):
        with flag_pipeline.start("run", "CN", "--source", url) as waiting:
            said = waiting.stderr.readline() if waiting.stderr else ""
            waiting.send_signal(signal.SIGINT)
            waiting.communicate()
        runs = flag_pipeline.fetching_runs()

    first, second = runs
    hint = "(Ctrl-C stops; terminate a killed run in the UI)"
    assert said == f"flag-pipeline: waiting for run {first} to finish fetching {hint}\n"
    assert waiting.returncode == 130
    assert [runs[first], runs[second]] == [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELED]
    files = (flag_pipeline.folder / "home/command_line_runs").iterdir()
    assert [path.name for path in files] == [f"{first}.lock"]


def test_a_run_gets_its_turn_when_the_one_before_is_killed(flag_pipeline: CommandLine) -> None:
    """A waiting command fails the orphaned run, frees its pool slot, and then fetches."""
    with (
        flag_pipeline.mirror("--delay", "0.5") as url,
        one_fetching(flag_pipeline, url) as first,
        flag_pipeline.start("run", "CN", "--json", "--source", url) as waiting,
    ):
        said = waiting.stderr.readline() if waiting.stderr else ""
        first.kill()
        report = json.loads(waiting.communicate()[0])

    assert said.startswith("flag-pipeline: waiting")
    assert (waiting.returncode, report["saved"]) == (0, 1)
    statuses = [*flag_pipeline.fetching_runs().values()]
    assert statuses == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]


def test_mirror_with_errors_is_survived(flag_pipeline: CommandLine) -> None:
    """When three of ten answers are errors, requests are retried, and failures are listed with kind and reason."""
    with flag_pipeline.mirror("--error-rate", "0.3", "--seed", "1") as url:
        with flag_pipeline.start("run", "--json", "--source", url) as process:
            report = json.loads(process.communicate()[0])

        assert report["retries"] > 100
        assert report["saved"] + len(report["failed"]) == 249
        assert {miss["kind"] for miss in report["failed"].values()} <= {"server_error"}
        assert process.returncode == bool(report["failed"])
        again = flag_pipeline.start("retry", "--json", "--source", url)
        retried = json.loads(again.communicate()[0])
        assert retried["requested"] == len(report["failed"])


def until(happened: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    while not happened():
        time.sleep(0.01)
