"""kill -9 at seeded points of a run, and what must hold right after it and after the run that follows."""

import asyncio
import csv
import io
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
from aiohttp import web

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.layout import flag_path
from flag_pipeline.core.records import load_record
from flag_pipeline.defs.keys import COUNTRY_METADATA, FLAG_IMAGE
from flag_pipeline.stores.atomic_files import STALE_TEMPORARY_S, TEMPORARY_PREFIX
from flag_pipeline_tests.crashing import (
    NEW,
    NEW_FLAG,
    OLD,
    WRITTEN_IN_PLACE,
    install_dagster_home,
    save_new,
    save_old,
    shared_counter,
    start,
    start_save,
)
from flag_pipeline_tests.flag_server import FlagServer, flag_url_path, metadata_url_path, running_flag_server
from flag_pipeline_tests.samples import gif

CODES = ["AD", "AE", "AF", "BR", "CN", "FR"]
FLAGS = [gif("CN"), gif("BR")]
SEED = 4
# Some of the killed runs are the first on their store.
FRESH_EVERY = 20


@dataclass(slots=True)
class World:
    """A source whose countries change their names and flags from one generation to the next, and a place to store.

    Attributes:
        victim: the process to kill, 0 for none, when *requests_left* more requests have come.
    """

    server: FlagServer
    root: Path
    generation: int = 0
    victim: int = 0
    requests_left: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, code in enumerate(CODES):
            self.server.script(flag_url_path(code), [self._flag(number)])
            self.server.script(metadata_url_path(code), [self._metadata(number, code)])

    def _flag(self, number: int):  # type: ignore[no-untyped-def] # noqa: ANN202 - an Answer
        async def respond(_request: web.Request) -> web.StreamResponse:
            self._count_down()
            return web.Response(body=FLAGS[(self.generation + number) % 2])

        return respond

    def _metadata(self, number: int, code: str):  # type: ignore[no-untyped-def] # noqa: ANN202 - an Answer
        async def respond(_request: web.Request) -> web.StreamResponse:
            self._count_down()
            # Half of the countries change their name, and with it their file.
            name = f"Name {self.generation}" if number % 2 else "Name"
            return web.json_response({"country": name, "iso_cc": code})

        return respond

    def _count_down(self) -> None:
        self.requests_left -= 1
        if self.victim and self.requests_left == 0:
            os.kill(self.victim, signal.SIGKILL)

    @property
    def store(self) -> Path:
        """The store of this generation."""
        return Path(self.environment["FLAG_STORE"])

    def start_afresh(self) -> None:
        """Leave the old store and instance behind."""
        folder = self.root / str(self.generation)
        install_dagster_home(folder / "home")
        self.environment = {
            "FLAG_STORE": str(folder / "store"),
            "FLAG_SOURCE": self.server.url,
            "DAGSTER_HOME": str(folder / "home"),
        }

    def run(self, *arguments: str) -> int:
        """Run the command line to its end and return its exit code."""
        process = start([*arguments, "--json"], self.environment)
        process.join()
        return process.exitcode or 0

    def run_killed(self, *, at_event: int = 0, at_request: int = 0) -> int:
        """Run all countries until the given point; return the exit code, -9 if it was reached."""
        self.victim, self.requests_left = 0, at_request
        process = start(["run", *CODES, "--json"], self.environment, die_at=at_event)
        if at_request:
            self.victim = process.pid or 0
        process.join()
        self.victim = 0
        assert process.exitcode != WRITTEN_IN_PLACE
        return process.exitcode or 0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A source and a place to store."""
    with running_flag_server() as server:
        world = World(server, tmp_path)
        world.start_afresh()
        yield world


def count_events(world: World) -> int:
    """How many points to die at a whole run has."""
    seen = shared_counter()
    process = start(["run", *CODES, "--json"], world.environment, seen=seen)
    process.join()
    assert process.exitcode == 0
    return int(seen.value)


@pytest.mark.parametrize(
    "n_points",
    [
        pytest.param(6, marks=pytest.mark.timeout(180)),
        pytest.param(56, marks=[pytest.mark.crash, pytest.mark.timeout(1800)]),
    ],
)
def test_killed_runs_lose_nothing(world: World, n_points: int) -> None:
    """After a kill at any point no file is torn, every recorded file exists, and the next run completes."""
    points = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    n_events = count_events(world)
    plan = [("event", points.randint(1, n_events)) for _ in range(n_points // 2)]
    plan += [("request", points.randint(1, 2 * len(CODES))) for _ in range(n_points // 2)]
    points.shuffle(plan)
    n_killed = 0
    for number, (how, at) in enumerate(plan):
        world.generation += 1
        if number % FRESH_EVERY == 0:
            world.start_afresh()
        code = world.run_killed(at_event=at) if how == "event" else world.run_killed(at_request=at)
        n_killed += code == -signal.SIGKILL
        where = f"killed at {how} {at} of point {number}"
        check_store(world, where)
        age_temporaries(world.store)
        is_first = number % FRESH_EVERY == 0
        assert world.run(*(["retry"] if is_first else ["run", *CODES])) == 0, where
        if is_first:
            assert world.run("run", *CODES) == 0, where
        check_healed(world, where)

    # A run that had less to do than the first may be over before its point.
    assert n_killed >= n_points * 0.9


def test_save_killed_before_any_of_its_steps_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """Each point at which the store is touched: what the record names is there, whole, and the next save tidies up."""
    asyncio.run(save_old(str(tmp_path / "before")))
    seen = shared_counter()
    n_steps = 1
    number = 0
    while number < n_steps:
        root = tmp_path / str(number)
        shutil.copytree(tmp_path / "before", root)
        # A process that dies while it counts would keep the counter's lock.
        process = start_save(str(root), die_at=number, seen=None if number else seen)
        process.join()
        # The first one lives, and counts the steps.
        assert process.exitcode == (-signal.SIGKILL if number else 0)
        n_steps = int(seen.value) + 1 if number == 0 else n_steps
        check_old_or_new(root, f"killed before step {number}")
        age_temporaries(root)
        asyncio.run(save_new(str(root)))
        assert [path.name for path in (root / "flags").iterdir()] == ["CN-New_one.gif"]
        assert list(root.rglob(f"{TEMPORARY_PREFIX}*")) == []
        number += 1

    assert n_steps > 15


def check_old_or_new(root: Path, where: str) -> None:
    """The record is one of the two, and so is every file, under its own name."""
    known = load_record((root / "records/CN.json").read_bytes())
    assert known in (OLD, NEW), where
    assert known.image is not None
    assert (root / known.image.file).is_file(), where
    whole = {"CN-Old one.gif": gif("CN"), "CN-New_one.gif": NEW_FLAG, "old.gif": gif("CN")}
    for path in [*visible(root / "flags"), *visible(root / "history/CN")]:
        assert path.read_bytes() == whole[path.name], f"{where}: {path.name} is torn"
    assert json.loads((root / "metadata/CN.json").read_bytes())["name"] in {"China", "New one"}, where


def check_store(world: World, where: str) -> None:
    """What must hold the moment after the kill."""
    for path in visible(world.store / "flags"):
        code = path.name.split("-")[0]
        assert path.read_bytes() in (FLAGS if code in CODES else [gif(code)]), f"{where}: {path.name} is torn"
    for path in visible(world.store / "metadata"):
        assert json.loads(path.read_bytes())["code"] == path.stem, f"{where}: {path.name} is torn"
    for path in visible(world.store / "records"):
        image = load_record(path.read_bytes()).image
        assert image is None or (world.store / image.file).is_file(), f"{where}: the file of {path.name} is absent"
    check_catalog(world.store, where)
    with opened(world) as instance:
        for code in instance.get_materialized_partitions(FLAG_IMAGE):
            assert list((world.store / "flags").glob(f"{code}-*")), f"{where}: {code} is recorded but absent"
        for code in instance.get_materialized_partitions(COUNTRY_METADATA):
            assert (world.store / f"metadata/{code}.json").is_file(), f"{where}: {code} is recorded but absent"


@contextmanager
def opened(world: World) -> Iterator[dg.DagsterInstance]:
    """The instance that the killed process wrote to."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DAGSTER_HOME", world.environment["DAGSTER_HOME"])
        with dg.DagsterInstance.get() as instance:
            yield instance


def visible(folder: Path) -> list[Path]:
    """The files that a user sees in a folder, if it is there yet."""
    return [path for path in folder.glob("*") if not path.name.startswith(".")]


def check_catalog(store: Path, where: str) -> None:
    """Each of its files is whole, if it is there yet."""
    for path in visible(store / "catalog"):
        if path.name == "catalog.json":
            assert len(json.loads(path.read_bytes())) == len(iso_codes()), where
        if path.name == "catalog.csv":
            rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
            assert len(rows) == len(iso_codes()), where


def age_temporaries(store: Path) -> None:
    """Let an hour pass for what the killed run left half written."""
    long_ago = time.time() - STALE_TEMPORARY_S - 60
    for path in store.rglob(f"{TEMPORARY_PREFIX}*"):
        os.utime(path, (long_ago, long_ago))


def check_healed(world: World, where: str) -> None:
    """After a whole run: one flag a country, of this generation, and nothing that grows."""
    check_store(world, where)
    for number, code in enumerate(CODES):
        name = f"Name {world.generation}" if number % 2 else "Name"
        file = world.store / flag_path(code, name, "gif")
        assert list((world.store / "flags").glob(f"{code}-*")) == [file], where
        content = file.read_bytes()
        assert content == FLAGS[(world.generation + number) % 2], where
        known = load_record((world.store / f"records/{code}.json").read_bytes())
        kept = {f"history/{code}/{path.name}" for path in visible(world.store / f"history/{code}")}
        assert kept <= {change.old_file for change in known.changes}, where
    assert list(world.store.rglob(f"{TEMPORARY_PREFIX}*")) == [], where
    assert len((world.store / "catalog/catalog.json").read_bytes()) > 0, where
