"""The Dagster instance of the commands. Only a new one gets this package's settings."""

import gc
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flag_pipeline.errors import ConfigurationError, printable

if TYPE_CHECKING:
    from dagster import DagsterInstance

SETTINGS = Path(__file__).parent.parent / "dagster.yaml"
# Files of mounts, git, file managers and `flag-pipeline ui`, which do not count.
_NO_CONTENT = {"lost+found", ".gitkeep", ".gitignore", ".DS_Store", "ui.lock"}
_TEMPORARY_PREFIX = ".flag-pipeline-"
# The block for all three storages.
_ALL_STORAGES, _STORAGES = "storage", {"event_log_storage", "run_storage", "schedule_storage"}


def is_new(home: Path) -> bool:
    """Whether the folder is missing, empty, or has only this package's settings."""
    if not home.exists():
        return True
    names = {path.name for path in home.iterdir() if not path.name.startswith(_TEMPORARY_PREFIX)} - _NO_CONTENT
    return not names or (names == {SETTINGS.name} and _has_ours(home))


def prepare(home: Path, store: str, *, is_verbose: bool) -> None:
    """Put the settings into a new folder, or say on stderr what an instance's settings lack.

    A new instance is named on stderr, or any if *is_verbose*. Raises ConfigurationError if it cannot be made.
    """
    is_made = is_new(home) and not _has_ours(home)
    if is_made:
        _put_settings(home)
    if is_made or is_verbose:
        _say(f"{'new ' if is_made else ''}Dagster instance in {home}; files are stored in {store}")
    if missing := list(_missing_settings(home)):
        _say(_how_to_add(home, missing))


@contextmanager
def open_instance(*, is_persistent: bool = True) -> "Iterator[DagsterInstance]":
    """Import Dagster and open its instance, without garbage collection: the million new objects all stay."""
    with ExitStack() as opened:
        gc.disable()
        try:
            from flag_pipeline.cli import runs

            instance = opened.enter_context(runs.open_instance() if is_persistent else runs.open_no_instance())
            gc.freeze()
        finally:
            gc.enable()
        yield instance


def say_that_there_is_none(home: Path) -> None:
    """Say on stderr that there is no instance."""
    _say(f"there is no Dagster instance in {home} yet: flag-pipeline run makes one")


def _has_ours(home: Path) -> bool:
    path = home / SETTINGS.name
    return path.is_file() and path.read_bytes() == SETTINGS.read_bytes()


def _put_settings(home: Path) -> None:
    """Write the file atomically, because another process may be opening the instance."""
    temporary = home / f"{_TEMPORARY_PREFIX}{os.getpid()}"
    try:
        temporary.write_bytes(SETTINGS.read_bytes())
        temporary.replace(home / SETTINGS.name)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise ConfigurationError(
            f"no Dagster instance can be made in {home} ({exc.strerror}): check that it is writable and has space"
        ) from exc


def _missing_settings(home: Path) -> Iterator[str]:
    if _has_ours(home):
        return
    # Imported here, because a usage error need not wait for it.
    import yaml

    path = home / SETTINGS.name
    try:
        given = yaml.safe_load(path.read_bytes()) if path.is_file() else {}
    except yaml.YAMLError:
        return  # Dagster reports it.
    given = given if isinstance(given, dict) else {}
    wanted = yaml.safe_load(SETTINGS.read_bytes())
    chosen = _STORAGES if _ALL_STORAGES in given else set()
    yield from _missing({key: value for key, value in wanted.items() if key not in chosen}, given)


def _missing(wanted: Mapping[str, Any], given: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in wanted.items():
        if key not in given:
            yield f"{above}{key}"
        # Another class has another configuration.
        elif isinstance(value, dict) and isinstance(given[key], dict) and "class" not in value:
            yield from _missing(value, given[key], f"{above}{key}.")


def _how_to_add(home: Path, missing: list[str]) -> str:
    path = home / SETTINGS.name
    if path.exists():
        lacks, add = f"lacks {', '.join(missing)}", f"copy them from {SETTINGS} into {path}"
    else:
        lacks, add = f"has no {SETTINGS.name}", f"cp {shlex.quote(str(SETTINGS))} {shlex.quote(str(home))}/"
    return (
        f"the Dagster instance in {home} {lacks}, so runs may take longer and fetch from one source at once; "
        f"to add it, unless other projects use this instance: {add}"
    )


def _say(line: str) -> None:
    print(f"flag-pipeline: {printable(line)}", file=sys.stderr, flush=True)
