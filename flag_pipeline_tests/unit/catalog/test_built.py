"""When derived files count as built from what is stored."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flag_pipeline.catalog.built import describe_inputs, is_built_from, note_build
from flag_pipeline.core.layout import BUILT_PATH

VERSIONS = (1, "CN")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a record, a flag and derived files that were built from them."""
    for path in ("records/CN.json", "flags/CN-China.gif", "catalog/index.html", "history/changes.json"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
    note_build(str(tmp_path), describe_inputs(str(tmp_path), VERSIONS))
    return tmp_path


def is_current(store: Path, *versions: object) -> bool:
    """Whether nothing needs to be built."""
    return is_built_from(str(store), describe_inputs(str(store), versions or VERSIONS))


def test_nothing_changed(store: Path) -> None:
    """Listing twice gives the same, and hidden files do not count."""
    (store / "records/.lock").touch()

    assert is_current(store)


def rewrite(path: Path) -> None:
    """Replace the file by one with the same content and time, as a restored copy has."""
    before, content = path.stat(), path.read_bytes()
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def make_folder(path: Path) -> None:
    """Put a folder in the place of a file."""
    path.unlink()
    path.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "a new record": lambda store: (store / "records/FR.json").touch(),
    "a rewritten record": lambda store: rewrite(store / "records/CN.json"),
    "a damaged flag": lambda store: (store / "flags/CN-China.gif").write_bytes(b"GIF8"),
    "a deleted page": lambda store: (store / "catalog/index.html").unlink(),
    "a lost history": lambda store: (store / "history/changes.json").unlink(),
    "a lost note": lambda store: (store / BUILT_PATH).unlink(),
    "a damaged note": lambda store: (store / BUILT_PATH).write_bytes(b"\xff"),
    "a note that cannot be read": lambda store: make_folder(store / BUILT_PATH),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen(store: Path, change: Callable[[Path], object]) -> None:
    """It may be made by any program, with any time."""
    change(store)

    assert not is_current(store)


def test_other_code_or_countries_build_again(store: Path) -> None:
    """They make other tables of the same records."""
    assert not is_current(store, 2, "CN")
    assert not is_current(store, 1, "CN", "FR")


@pytest.mark.parametrize("root", ["memory://built", "s3://bucket?"])
def test_store_that_cannot_tell_is_never_current(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its derived files are built each time; a store that fails is reported by who builds them."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    inputs = describe_inputs(root, VERSIONS)

    note_build(root, inputs)

    assert inputs == ""
    assert not is_built_from(root, inputs)
