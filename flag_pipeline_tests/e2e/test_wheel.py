"""The wheel, built and installed into a clean environment: it does in an empty folder what a checkout does."""

import json
import os
import shutil
import signal
import subprocess
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from flag_pipeline.cli.instance import SETTINGS
from flag_pipeline.core.mirror import DRAWN_FLAGS
from flag_pipeline.settings import project_root
from flag_pipeline_tests.e2e.deployment import free_port
from flag_pipeline_tests.e2e.test_command_line import until
from flag_pipeline_tests.flag_server import FlagServer

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(300)]

STORAGES = """
from flag_pipeline.cli.runs import open_instance
with open_instance() as instance:
    print(instance.telemetry_enabled, *(type(each).__name__ for each in (
        instance.event_log_storage, instance.run_storage, instance.schedule_storage)))
"""
# A job in the background of a script ignores SIGINT from the start.
SCRIPT = 'flag-pipeline ui --port "$1" >ui.log 2>&1 & echo $!; wait $!; echo "ended with $?"'
LOCATION = "{workspaceOrError {... on Workspace {locationEntries {name loadStatus}}}}"


@dataclass(frozen=True)
class Installed:
    """The wheel's environment, and an empty folder to work in."""

    programs: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a shell in which the wheel is installed."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("FLAG_", "DAGSTER_", "PYTHON"))
        }
        return {**kept, "PATH": f"{self.programs}:{os.environ['PATH']}"}

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """Start a program in the folder."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *command: str) -> tuple[str, str]:
        """Run a program to its end, which must be a success; return what it printed."""
        with self.start(*command) as process:
            output, errors = process.communicate()
        assert process.returncode == 0, (output, errors)
        return output, errors


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of the clean environment are."""
    folder, uv = tmp_path_factory.mktemp("wheel"), shutil.which("uv")
    assert uv is not None, "uv builds and installs the wheel: pip install uv"
    environment = folder / "environment"
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder / "dist"], cwd=project_root(), check=True)
    subprocess.run([uv, "venv", "--quiet", environment], cwd=project_root(), check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    # In the checkout, so that uv installs the versions that are pinned there.
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", environment, wheel]
    subprocess.run(install, cwd=project_root(), check=True)
    return environment / "bin"


@pytest.fixture
def installed(programs: Path, tmp_path: Path) -> Installed:
    """The clean environment, in an empty folder."""
    return Installed(programs, tmp_path)


def test_run_in_an_empty_folder(installed: Installed) -> None:
    """It saves all flags below the folder, with the fast storages and without Dagster's telemetry."""
    output, errors = installed("flag-pipeline", "run")
    storages, _ = installed("python", "-c", STORAGES)

    home, store = installed.folder / "dagster_home", installed.folder / "data"
    assert output.startswith("249 requested: 249 saved")
    assert errors == f"flag-pipeline: new Dagster instance in {home}; files are stored in {store}\n"
    assert len(list((store / "flags").iterdir())) == 249
    assert (home / "dagster.yaml").read_bytes() == SETTINGS.read_bytes()
    assert storages.split() == ["False", "EmbeddedEventLogStorage", "EmbeddedRunStorage", "EmbeddedScheduleStorage"]
    assert {path.name for path in installed.folder.iterdir()} == {"dagster_home", "data"}


def test_source_distribution_has_what_is_drawn(tmp_path: Path) -> None:
    """The wheel that is built from it has the files that a checkout draws."""
    uv = shutil.which("uv")
    assert uv is not None, "uv builds the packages: pip install uv"
    subprocess.run([uv, "build", "--quiet", "--sdist", "--out-dir", tmp_path], cwd=project_root(), check=True)
    (source,) = tmp_path.glob("*.tar.gz")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, source], cwd=tmp_path, check=True)
    (wheel,) = tmp_path.glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        drawn = {Path(name).name: archive.read(name) for name in archive.namelist() if "/core/embedded/" in name}

    assert drawn == {path.name: path.read_bytes() for path in DRAWN_FLAGS.iterdir()}
    assert len(drawn) == 2 * 259 + 1


def test_two_runs_at_once_keep_to_the_limit(installed: Installed, flag_server: FlagServer) -> None:
    """The second waits for the first, because the instance has the limit of the pool."""
    settings = {"FLAG_SOURCE": flag_server.url, "FLAG_MAX_REQUESTS": "3", "FLAG_FIRST_REQUESTS": "3"}
    flag_server.hold_until(3)

    runs = [installed.start("flag-pipeline", "run", first, **settings) for first in ("A", "B")]
    results = [run.communicate() for run in runs]

    assert [run.returncode for run in runs] == [0, 0], results
    assert flag_server.most_under_way == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ui_answers_and_ends(installed: Installed, number: signal.Signals) -> None:
    """Started by a script, it serves the code location, and a signal ends it and all of its processes."""
    port = free_port()
    (installed.folder / ".env").write_text("FLAG_STORE=from_the_file\nFLAG_EXTRA_CODES=XK\n")

    with script_with_ui(installed, port, {"FLAG_STORE": "mine"}) as (script, pid):
        entries = ask(port, LOCATION)["workspaceOrError"]["locationEntries"]
        store = stored_in(installed.folder)
        os.kill(pid, number)
        end = script.communicate()[0]

    assert entries == [{"name": "flag_pipeline", "loadStatus": "LOADED"}]
    assert store == {str(installed.folder / "mine")}
    assert end == "ended with 0\n"
    assert processes_of(installed.folder) == []
    assert f"new Dagster instance in {installed.folder}/dagster_home" in (installed.folder / "ui.log").read_text()


@contextmanager
def script_with_ui(
    installed: Installed, port: int, variables: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Give a script with the UI in its background, and the UI's process, once it has said that it answers."""
    log = installed.folder / "ui.log"
    with installed.start("/bin/sh", "-c", SCRIPT, "sh", str(port), **variables) as script:
        assert script.stdout is not None
        pid = int(script.stdout.readline())
        try:
            until(lambda: script.poll() is not None or (log.exists() and f"127.0.0.1:{port}  (" in log.read_text()))
            assert script.poll() is None, log.read_text()
            yield script, pid
        finally:
            if script.poll() is None:
                os.kill(pid, signal.SIGTERM)


def ask(port: int, query: str) -> dict[str, dict[str, list[dict[str, str]]]]:
    """Ask the UI's server."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310
        answer: dict[str, dict[str, dict[str, list[dict[str, str]]]]] = json.load(response)
    return answer["data"]


def processes_of(folder: Path) -> list[dict[str, str]]:
    """Return the environments of the processes that use the instance in the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            lines = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        variables = dict(line.split("=", 1) for line in lines if "=" in line)
        if variables.get("DAGSTER_HOME", "").startswith(str(folder)):
            found.append(variables)
    return found


def stored_in(folder: Path) -> set[str]:
    """Return where the processes of the instance in the folder store flags."""
    return {variables["FLAG_STORE"] for variables in processes_of(folder)}
