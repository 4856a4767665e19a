"""What a user sees when the machine is at fault: one line on stderr that says what to do, and an exit code."""

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from flag_pipeline.settings import project_root
from flag_pipeline_tests.e2e.test_command_line import CommandLine, until
from flag_pipeline_tests.privileges import make_read_only, small_disk

pytestmark = pytest.mark.timeout(120)

DATABASES = ("history/runs/index.db", "history/runs.db", "schedules/schedules.db")
GARBAGE = bytes(range(256)) * 80
COMMANDS = {"run": ("run", "CN"), "status": ("status",), "retry": ("retry",), "ui": ("ui",)}


def sampled(combinations: Iterable[tuple[str, ...]], sample: Iterable[str]) -> list[object]:
    """The combinations; those that are not in *sample*, where each is a row of words, run with the marker `matrix`."""
    chosen = {tuple(row.split()) for row in sample}
    all_of_them = list(combinations)
    assert chosen <= {*all_of_them}
    return [pytest.param(*one, marks=() if one in chosen else pytest.mark.matrix) for one in all_of_them]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home and a store in which a run has left its traces."""
    folder = tmp_path_factory.mktemp("used")
    (folder / "home").mkdir()
    shutil.copy(project_root() / "dagster_home" / "dagster.yaml", folder / "home")
    command_line(folder)("run", "AX", "CI")
    return folder


@pytest.fixture
def flag_pipeline(used: Path, tmp_path: Path) -> CommandLine:
    """The command line on a copy of them."""
    shutil.copytree(used, tmp_path, dirs_exist_ok=True)
    return command_line(tmp_path)


def command_line(folder: Path, **environment: str) -> CommandLine:
    """The command line with its home and store in the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLAG_", "DAGSTER_"))}
    own = {"DAGSTER_HOME": str(folder / "home"), "FLAG_STORE": str(folder / "store")}
    return CommandLine(folder, {**kept, **own, **environment})


def with_environment(command: CommandLine, **environment: str) -> CommandLine:
    """The same command line with further variables."""
    return replace(command, environment={**command.environment, **environment})


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    """The only line on stderr."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("flag-pipeline: ")
    return line


@pytest.mark.parametrize(
    ("below", "command"),
    sampled(
        itertools.product(["file", "file/home"], COMMANDS),
        ["file run", "file/home status", "file retry", "file/home ui"],
    ),
)
def test_a_home_that_cannot_be_made(tmp_path: Path, below: str, command: str) -> None:
    """A DAGSTER_HOME that is a file, or is below one, is a usage error that names it."""
    (tmp_path / "file").touch()
    home = tmp_path / below

    done = with_environment(command_line(tmp_path), DAGSTER_HOME=str(home))(*COMMANDS[command], expect=2)

    assert f"DAGSTER_HOME must be a folder: {home} cannot be made" in the_line(done)


@pytest.mark.parametrize(
    ("name", "damage", "command"),
    sampled(
        itertools.product(DATABASES, ["garbage", "truncated"], ["run", "status"]),
        [
            "history/runs/index.db garbage run",
            "history/runs/index.db truncated status",
            "history/runs.db garbage status",
            "history/runs.db truncated run",
            "schedules/schedules.db garbage run",
            "schedules/schedules.db truncated status",
        ],
    ),
)
def test_a_damaged_database_is_named(flag_pipeline: CommandLine, name: str, damage: str, command: str) -> None:
    """A database with garbage in it, or cut off, is named, with what to do."""
    path = flag_pipeline.folder / "home" / name
    for beside in path.parent.glob(f"{path.name}-*"):
        beside.unlink()
    content = path.read_bytes()
    path.write_bytes(GARBAGE if damage == "garbage" else content[: len(content) // 3])

    line = the_line(flag_pipeline(*COMMANDS[command], expect=1))

    assert f"{path} is damaged" in line
    assert "restore it from a backup, or move it away" in line


@pytest.mark.parametrize("size_kb", [300, 2500])
def test_a_full_home(tmp_path: Path, size_kb: int) -> None:
    """A full disk, or one that fills up during the run, is one line that names the file."""
    with small_disk(tmp_path / "home", size_kb=size_kb):
        shutil.copy(project_root() / "dagster_home" / "dagster.yaml", tmp_path / "home")

        line = the_line(command_line(tmp_path)("run", expect=1))

    assert f"the Dagster instance in {tmp_path / 'home'} cannot be used" in line
    assert "check that it exists, is writable and has space" in line


@pytest.mark.parametrize("arguments", [("run", "CN"), ("status",)])
def test_a_read_only_home(used: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A read-only Dagster home is one line that says what to do."""
    with small_disk(tmp_path / "home", size_kb=20_000):
        shutil.copytree(used / "home", tmp_path / "home", dirs_exist_ok=True)
        make_read_only(tmp_path / "home")

        line = the_line(command_line(tmp_path)(*arguments, expect=1))

    assert f"the Dagster instance in {tmp_path / 'home'} cannot be used" in line


def test_a_home_that_is_moved_away_during_the_run(flag_pipeline: CommandLine) -> None:
    """A home that disappears ends the run with one line, and is not made again."""
    home = flag_pipeline.folder / "home"
    before = len(list(flag_pipeline.store.glob("records/*.json")))
    with (
        flag_pipeline.mirror("--delay", "0.05") as url,
        flag_pipeline.start("run", "A", "B", "--source", url, "-m", "1") as process,
    ):
        until(lambda: len(list(flag_pipeline.store.glob("records/*.json"))) >= before + 3)
        home.rename(home.with_name("moved"))
        _, errors = process.communicate()

    assert process.returncode == 1
    assert errors == (
        f"flag-pipeline: the Dagster instance in {home} cannot be used (unable to open database file):"
        " check that it exists, is writable and has space\n"
    )
    assert not home.exists()


@pytest.mark.parametrize("arguments", [("run", "CN"), ("run", "CN", "--json"), ("status",), ("catalog",), ("--help",)])
def test_output_to_a_full_device(flag_pipeline: CommandLine, arguments: tuple[str, ...]) -> None:
    """Output that cannot be written is an error, even if everything else succeeded."""
    with Path("/dev/full").open("wb") as full:
        done = run(flag_pipeline, *arguments, stdout=full, stderr=subprocess.PIPE)

    assert done.returncode == 1
    assert the_line(done) == (
        "flag-pipeline: the output could not be written (No space left on device): check where it goes"
    )


def test_errors_to_a_full_device(flag_pipeline: CommandLine) -> None:
    """The exit code reports the error when the line cannot be written either."""
    with Path("/dev/full").open("wb") as full:
        assert run(flag_pipeline, "status", stdout=full, stderr=full).returncode == 1
        assert run(flag_pipeline, "run", "XX", stdout=full, stderr=full).returncode == 2


def run(command: CommandLine, *arguments: str, **streams: object) -> subprocess.CompletedProcess[str]:
    """Run a command with standard streams of its own."""
    with subprocess.Popen(  # type: ignore[call-overload]
        [shutil.which("flag-pipeline"), *arguments], cwd=command.folder, env=command.environment, text=True, **streams
    ) as process:
        output, errors = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


@pytest.mark.parametrize(
    ("name", "value"),
    sampled([("PYTHONIOENCODING", "ascii"), ("LC_ALL", "C"), ("LANG", "C")], ["PYTHONIOENCODING ascii"]),
)
def test_a_terminal_that_cannot_show_the_characters(flag_pipeline: CommandLine, name: str, value: str) -> None:
    """Names such as Côte d'Ivoire are printed with escapes where the terminal takes only ASCII."""
    limited = with_environment(flag_pipeline, **{name: value})

    for arguments in (("run", "CI"), ("status",), ("catalog",), ("catalog", "--csv")):
        assert limited(*arguments).stderr == ""
    with_escapes = limited("catalog", "CI").stdout
    assert "C\\xf4te d'Ivoire" in with_escapes or "Côte d'Ivoire" in with_escapes
    assert json.loads(limited("catalog", "CI", "--json").stdout)


def test_debugging_brings_the_traceback_back(flag_pipeline: CommandLine) -> None:
    """FLAG_DEBUG=1 shows where an error came from."""
    (flag_pipeline.folder / "home/history/runs.db").write_bytes(b"garbage" * 2000)

    done = with_environment(flag_pipeline, FLAG_DEBUG="1")("status", expect=1)

    assert "Traceback (most recent call last)" in done.stderr
    assert "sqlite3.DatabaseError" in done.stderr
