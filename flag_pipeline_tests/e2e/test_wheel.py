"""The wheel, built and installed into a clean environment: it does in an empty folder what a checkout does."""

import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    _uv("build", "--out-dir", folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of the clean environment are."""
    environment = tmp_path_factory.mktemp("wheel") / "environment"
    _uv("venv", environment)
    _uv("pip", "install", "--python", environment, wheel)
    return environment / "bin"


def _uv(*arguments: str | Path) -> None:
    """Run uv in the checkout, so that it installs the versions that are pinned there."""
    uv = shutil.which("uv")
    assert uv is not None, "uv builds and installs the wheel: pip install uv"
    subprocess.run([uv, *arguments, "--quiet"], cwd=project_root(), check=True)


@pytest.fixture
def installed(programs: Path, tmp_path: Path) -> Installed:
    """The clean environment, in an empty folder."""
    return Installed(programs, tmp_path)


def test_page_of_a_package_index_needs_no_other_file(wheel: Path) -> None:
    """Its description has neither a picture nor a link that leads to a file of the checkout."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        description = archive.read(name).decode().partition("\n\n")[2]

    assert "flag-pipeline retry" in description
    assert re.findall(r"\]\((?!https://)[^)]*\)", description) == []


def test_only_the_package_is_installed(wheel: Path) -> None:
    """The wheel has the licence and no test; the source distribution beside it has the tests and the examples."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    (source,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}

    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"flag_pipeline"}
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
    assert {"examples/weather.py", "flag_pipeline_tests/e2e/test_wheel.py", "workspace.yaml"} <= sources


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


def test_flags_are_drawn_once_and_are_in_both_distributions(tmp_path: Path) -> None:
    """A checkout without them draws the same flags again, and the wheel made of its source distribution has them."""
    checkout, made = tmp_path / "checkout", tmp_path / "made"
    without_flags = shutil.ignore_patterns(DRAWN_FLAGS.name, "__pycache__")
    shutil.copytree(project_root() / "flag_pipeline", checkout / "flag_pipeline", ignore=without_flags)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(project_root() / name, checkout)
    drawn = checkout / DRAWN_FLAGS.relative_to(project_root())

    build("--sdist", source=checkout, made=made)
    times = {path.name: path.stat().st_mtime_ns for path in drawn.iterdir()}
    build("--sdist", source=checkout, made=made)
    [distribution] = made.glob("*.tar.gz")
    build("--wheel", source=distribution, made=made)

    flags = {path.name: path.read_bytes() for path in DRAWN_FLAGS.iterdir()}
    assert len(flags) == 2 * 259 + 1
    assert {path.name: path.read_bytes() for path in drawn.iterdir()} == flags
    assert {path.name: path.stat().st_mtime_ns for path in drawn.iterdir()} == times
    [wheel] = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {Path(name).name: archive.read(name) for name in archive.namelist() if "/core/embedded/" in name}
    assert packed == flags


def build(kind: str, *, source: Path, made: Path) -> None:
    """Build a distribution of that kind."""
    uv = shutil.which("uv")
    assert uv is not None, "uv builds the packages: pip install uv"
    subprocess.run([uv, "build", "--quiet", kind, "--out-dir", made, source], cwd=source.parent, check=True)


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
