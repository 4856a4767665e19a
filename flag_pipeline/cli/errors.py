"""Errors of the command line: one line on stderr that says what to do, and an exit code."""

import io
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import TextIO

from flag_pipeline.errors import ConfigurationError, FlagPipelineError, printable

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130

_LOCKED = "is locked"
# Words in SQLite's messages about damaged files.
_DAMAGED = ("not a database", "malformed", "unsupported file format")


def exit_code_of(command: Callable[[], object]) -> int:
    """Run the command and return its exit code; an error is one line, or raised with `FLAG_DEBUG=1`."""
    _accept_all_characters()
    try:
        code = _run(command)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _say("interrupted")
        return EXIT_INTERRUPTED
    except Exception as exc:  # the boundary of the command line
        if _is_debugging():
            raise
        _say(printable(explain(exc)))
        _drop_output()
        return EXIT_USAGE if isinstance(exc, ConfigurationError) else EXIT_FAILED
    return code


@contextmanager
def own_stderr(*, is_shared: bool) -> Iterator[TextIO]:
    """Yield standard error, and discard other output to it, unless it is shared or `FLAG_DEBUG=1`.

    Dagster writes each error there before it raises it.
    """
    terminal = sys.stderr
    if is_shared or _is_debugging():
        yield terminal
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nothing, redirect_stderr(nothing):
        yield terminal


def _is_debugging() -> bool:
    return os.environ.get("FLAG_DEBUG", "").lower() in {"1", "true", "yes", "on"}


def _run(command: Callable[[], object]) -> int:
    try:
        command()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else EXIT_FAILED if exc.code else EXIT_OK
    return EXIT_OK


def explain(error: BaseException) -> str:
    """Return what happened, to what, and what to do, from the error or its causes."""
    causes = [*_causes(error)]
    ours = next((cause for cause in causes if isinstance(cause, FlagPipelineError)), None)
    if ours is not None:
        return str(ours)
    for cause in reversed(causes):
        if isinstance(cause, sqlite3.Error):
            return _explain_database(str(cause))
        if isinstance(cause, OSError) and cause.strerror:
            return _explain_system(cause)
    return f"unexpected error, {type(error).__name__}: {error} (FLAG_DEBUG=1 shows where)"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _explain_database(reason: str) -> str:
    home = Path(os.environ.get("DAGSTER_HOME", ""))
    if _LOCKED in reason:
        return f"another process keeps a database in {home} locked: run the command again when that process has ended"
    if any(word in reason for word in _DAMAGED):
        damaged = next((path for path in sorted(home.rglob("*.db")) if not _is_sound(path)), home)
        return (
            f"{damaged} is damaged ({reason}): restore it from a backup, or move it away with the files beside it that"
            " begin with its name; a new one is made then, which does not know earlier runs"
        )
    return f"the Dagster instance in {home} cannot be used ({reason}): check that it exists, is writable and has space"


def _is_sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def _explain_system(error: OSError) -> str:
    if error.filename is None:
        return f"the output could not be written ({error.strerror}): check where it goes"
    return f"{error.filename} cannot be used ({error.strerror}): check that it exists, is writable and has space"


def _accept_all_characters() -> None:
    """Print characters that the terminal cannot show as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(line: str) -> None:
    with suppress(OSError):
        print(f"flag-pipeline: {line}", file=sys.stderr)


def _drop_output() -> None:
    """Discard unwritten output, because Python would write it again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
