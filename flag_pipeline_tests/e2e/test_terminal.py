"""What the commands print on a terminal of 80 x 40: whole lines, and no more than one screen."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from flag_pipeline.cli.app import app
from flag_pipeline_tests.flag_server import FlagServer, answer, running_flag_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

COLUMNS, LINES = 80, 40
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
FLAG_PIPELINE = Path(sys.executable).with_name("flag-pipeline")
STATUSES = [400, 401, 402, 403, 405, 406, 451, 500, 501, 502]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A new home and a new store."""
    folder = tmp_path_factory.mktemp("terminal")
    settings = {"DAGSTER_HOME": str(folder / "home"), "FLAG_STORE": str(folder / "store"), "FLAG_ATTEMPTS": "1"}
    return {**os.environ, **settings, "TERM": "xterm-256color"}


@pytest.fixture(scope="module")
def server() -> Iterator[FlagServer]:
    """A source that fails for countries in ten ways, and lacks DE."""
    with running_flag_server() as server:
        for number, code in enumerate(["FR", "BR", *(f"A{letter}" for letter in "DEFGILMOQRSTUWXZ"), "CN", "IN", "US"]):
            server.break_country(code, answer(STATUSES[number % len(STATUSES)]))
        server.break_country("DE", answer(404))
        yield server


def on_terminal(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Run the command on a terminal, and return its exit code and what it printed there."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    with subprocess.Popen(
        [FLAG_PIPELINE, *arguments], env=environment, stdin=its, stdout=its, stderr=subprocess.DEVNULL
    ) as process:
        os.close(its)
        printed = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    return process.returncode, ESCAPES.sub("", printed.decode()).replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # Linux says so when the other end is closed
        return b""


def height(text: str) -> int:
    """How many lines of the terminal the text takes."""
    return sum(max(1, -(-len(line) // COLUMNS)) for line in text.splitlines())


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_on_one_screen_and_nothing_is_cut_off(environment: dict[str, str], command: str) -> None:
    """The help has whole sentences in lines of at most 80 characters, and examples that can be pasted."""
    code, text = on_terminal(environment, *command.split(), "--help")

    assert code == 0
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert height(text) <= LINES
    assert not re.search(r"\.\.\.$|…", text.partition("\n")[2], re.MULTILINE)
    assert not re.search(r"<\w+", text)  # the name of a type
    assert command == "" or f"    flag-pipeline {command}" in text


def test_a_run_that_fails_in_many_ways_and_its_status_fit_on_one_screen(
    environment: dict[str, str], server: FlagServer
) -> None:
    """The report groups the failures, `status` names age and source too, and neither takes more than 40 lines."""
    code, report = on_terminal(environment, "run", "--source", server.url)
    _, status = on_terminal(environment, "status")

    for text in (report, status):
        assert height(text) <= LINES
        assert "The source does not have DE." in text
    assert code == 1
    assert "249 requested: " in report
    assert f"They came from {server.url} (" in status
    assert " flags, fetched " in status
