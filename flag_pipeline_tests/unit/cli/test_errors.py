"""What the command line says about an error, by what caused it."""

import errno
import sqlite3
import sys

import pytest

from flag_pipeline.cli.errors import exit_code_of, explain, own_stderr
from flag_pipeline.errors import ConfigurationError, SinkError


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The error as it is after it was raised from its cause."""
    try:
        raise error from cause
    except type(error) as exc:
        return exc


def test_our_own_error_counts_before_its_cause() -> None:
    """A setting's error says more than the system's."""
    error = raised(ConfigurationError("DAGSTER_HOME must be a folder"), FileExistsError(errno.EEXIST, "exists", "x"))

    assert explain(error) == "DAGSTER_HOME must be a folder"
    assert explain(raised(RuntimeError("a step failed"), SinkError("no space", path="x"))) == "no space"


def test_the_innermost_cause_counts() -> None:
    """What another library made of the system's error says less than the system."""
    error = raised(RuntimeError("invocation"), PermissionError(errno.EACCES, "Permission denied", "/srv/flags"))

    assert explain(error) == (
        "/srv/flags cannot be used (Permission denied): check that it exists, is writable and has space"
    )


def test_a_locked_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has locked it for longer than a run waits."""
    monkeypatch.setenv("DAGSTER_HOME", "/srv/home")

    assert explain(sqlite3.OperationalError("database is locked")) == (
        "another process keeps a database in /srv/home locked: run the command again when that process has ended"
    )


def test_an_unexpected_error_says_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug is one line too, without anything that would break or steer a terminal."""

    def fail() -> None:
        raise LookupError("two\nlines \x1b[2J")

    assert exit_code_of(fail) == 1
    assert capsys.readouterr().err == (
        "flag-pipeline: unexpected error, LookupError: two\\nlines \\x1b[2J (FLAG_DEBUG=1 shows where)\n"
    )


@pytest.mark.parametrize("debug", ["1", "true"])
def test_debugging_lets_an_error_through(monkeypatch: pytest.MonkeyPatch, debug: str) -> None:
    """FLAG_DEBUG=1 leaves it to Python to show the traceback."""
    monkeypatch.setenv("FLAG_DEBUG", debug)

    def fail() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        exit_code_of(fail)


@pytest.mark.parametrize(("code", "expected"), [(None, 0), (0, 0), (3, 3), ("a message", 1)])
def test_an_exit_code_is_passed_on(code: object, expected: int) -> None:
    """A command that ends the process itself has chosen its exit code."""

    def leave() -> None:
        sys.exit(code)  # type: ignore[arg-type]

    assert exit_code_of(leave) == expected


def test_an_interrupted_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C is exit code 130."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    assert exit_code_of(interrupt) == 130
    assert capsys.readouterr().err == "flag-pipeline: interrupted\n"


@pytest.mark.parametrize(("is_shared", "debug"), [(False, ""), (True, ""), (False, "1")])
def test_libraries_write_to_the_terminal_only_if_asked_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, is_shared: bool, debug: str
) -> None:
    """What libraries print on stderr is shown with --verbose or FLAG_DEBUG=1; the command's own lines always are."""
    monkeypatch.setenv("FLAG_DEBUG", debug)

    with own_stderr(is_shared=is_shared) as terminal:
        sys.stderr.write("library\n")
        terminal.write("command\n")

    assert capsys.readouterr().err == ("library\ncommand\n" if is_shared or debug else "command\n")
