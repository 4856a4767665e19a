"""A disk that is full, folders that are closed, links that lead out, two runs at once: through whole Dagster runs."""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.catalog.rows import load_rows
from flag_pipeline.core.countries import iso_codes, iso_country
from flag_pipeline.core.layout import CATALOG_PATH, CHANGES_PATH
from flag_pipeline.core.records import load_record
from flag_pipeline.core.sink import FileSink
from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.keys import FLAG_IMAGE
from flag_pipeline.defs.statuses import CountryStatuses, read_country_statuses
from flag_pipeline.errors import ErrorKind, SinkError
from flag_pipeline.settings import load_settings
from flag_pipeline.stores.atomic_files import STALE_TEMPORARY_S, TEMPORARY_PREFIX
from flag_pipeline_tests.crashing import install_dagster_home, start
from flag_pipeline_tests.flag_server import (
    FlagServer,
    answer,
    flag_url_path,
    metadata_url_path,
    running_flag_server,
)
from flag_pipeline_tests.integration.test_bounds import padded_png
from flag_pipeline_tests.privileges import bound_by_permissions, grow, small_disk
from flag_pipeline_tests.records import change_of
from flag_pipeline_tests.samples import flag, gif, picture, record
from flag_pipeline_tests.unit.core.test_records import DAMAGE, changed
from flag_pipeline_tests.unit.core.test_sink import OCCUPANTS, occupy

pytestmark = pytest.mark.timeout(120)

CODES = ["AD", "AE", "AF", "AG", "AI", "AL", "BA", "BB", "BD", "BE", "BF", "BG"]
VICTIM = "AF"
REPLACED = "the next fetch replaces it"
FOLDERS = ["flags", "metadata", "records", "history", "catalog"]


def run(
    job: str, instance: dg.DagsterInstance, server: FlagServer, store: Path, *, codes: Sequence[str] = CODES
) -> bool:
    """Run a job over these countries, and say whether it succeeded."""
    # One thread saves, because a file that does not fit takes all the space until its write fails.
    settings = load_settings(source=server.url, store=str(store), attempts=1, sink_threads=1)
    config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    if job == "refresh_flags":
        config["ops"] = {"fetch_flags": {"config": {"countries": list(codes)}}}
    definition = build_definitions(settings).resolve_job_def(job)
    return definition.execute_in_process(config, instance, raise_on_error=False).success


def statuses_of(instance: dg.DagsterInstance, codes: Sequence[str] = CODES) -> CountryStatuses:
    """How the countries stand."""
    return read_country_statuses(instance, FLAG_IMAGE, list(codes))


def kinds_of(instance: dg.DagsterInstance) -> dict[str, str]:
    """The kinds of the failures by code."""
    return {code: miss.kind for code, miss in statuses_of(instance).failed.items()}


def temporaries_in(root: Path) -> list[Path]:
    """What a save writes to before it is whole."""
    return list(root.rglob(f"{TEMPORARY_PREFIX}*"))


def check_store(store: Path, codes: list[str]) -> None:
    """Each of these has a record, and the one flag that it names, whole."""
    for code in codes:
        image = load_record((store / f"records/{code}.json").read_bytes()).image
        assert image is not None
        assert [path.name for path in store.glob(f"flags/{code}-*")] == [image.file.removeprefix("flags/")]
        assert (store / image.file).stat().st_size == image.size_bytes


def test_disk_that_is_full_costs_the_country_that_does_not_fit(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """A megabyte does not fit on what is left: kind `sink`, the others are saved; with more room it is mended."""
    flag_server.script(flag_url_path(VICTIM), [answer(200, padded_png((30, 20), 1_000_000))])
    with small_disk(tmp_path / "store", size_kb=900):
        store = tmp_path / "store"

        assert not run("refresh_flags", instance, flag_server, store)

        assert kinds_of(instance) == {VICTIM: ErrorKind.SINK}
        assert "No space left on device" in statuses_of(instance).failed[VICTIM].reason
        check_store(store, [code for code in CODES if code != VICTIM])
        assert temporaries_in(store) == []
        assert list(store.glob(f"flags/{VICTIM}-*")) == []
        miss = load_record((store / f"records/{VICTIM}.json").read_bytes()).last_failure
        assert miss is not None
        assert miss.kind is ErrorKind.SINK

        grow(store, size_kb=9000)
        assert run("refresh_flags", instance, flag_server, store)
        check_store(store, CODES)


def test_disk_without_any_room_tears_nothing(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """Every country fails, not even the reasons can be noted; what was there is as it was, and the catalog too."""
    with small_disk(tmp_path / "store", size_kb=9000):
        store = tmp_path / "store"
        assert run("refresh_flags", instance, flag_server, store)
        assert run("rebuild_catalog", instance, flag_server, store)
        before = {path: path.read_bytes() for path in store.rglob("*.*") if path.is_file()}
        for code in CODES:
            flag_server.script(flag_url_path(code), [answer(200, picture("GIF", size=(60, 40)))])
            flag_server.script(
                metadata_url_path(code), [answer(200, json.dumps({"country": "New", "iso_cc": code}).encode())]
            )
        used_kb = sum(path.lstat().st_blocks for path in store.rglob("*")) // 2
        grow(store, size_kb=used_kb)

        assert not run("refresh_flags", instance, flag_server, store)

        assert kinds_of(instance) == dict.fromkeys(CODES, ErrorKind.SINK)
        assert {path: path.read_bytes() for path in store.rglob("*.*") if path.is_file()} == before
        assert len(json.loads((store / CATALOG_PATH).read_bytes())) == 249

        grow(store, size_kb=9000)
        assert run("refresh_flags", instance, flag_server, store)
        check_store(store, CODES)


def test_folder_that_is_closed_costs_its_country(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """The replaced flag of AF cannot be kept: kind `sink`, AF stays as it was, the others change theirs."""
    assert run("refresh_flags", instance, flag_server, tmp_path)
    for code in CODES:
        flag_server.script(flag_url_path(code), [answer(200, picture("GIF", size=(60, 40)))])
    closed = tmp_path / f"history/{VICTIM}"
    closed.mkdir()
    closed.chmod(0o555)

    with bound_by_permissions():
        assert not run("refresh_flags", instance, flag_server, tmp_path)

    assert kinds_of(instance) == {VICTIM: ErrorKind.SINK}
    assert "Permission denied" in statuses_of(instance).failed[VICTIM].reason
    check_store(tmp_path, CODES)
    assert (tmp_path / f"flags/{VICTIM}-{iso_country(VICTIM).name}.gif").read_bytes() == gif(VICTIM)
    closed.chmod(0o755)
    assert run("refresh_flags", instance, flag_server, tmp_path)


def test_flag_that_may_not_be_read_costs_its_country(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """Whether it is intact cannot be told: that is no absent file, and nothing is overwritten."""
    assert run("refresh_flags", instance, flag_server, tmp_path)
    locked = tmp_path / f"flags/{VICTIM}-{iso_country(VICTIM).name}.gif"
    locked.chmod(0)

    with bound_by_permissions():
        assert not run("refresh_flags", instance, flag_server, tmp_path)

    assert kinds_of(instance) == {VICTIM: ErrorKind.SINK}
    assert len(statuses_of(instance).materialized) == len(CODES) - 1


@pytest.mark.parametrize("folder", ["flags", "metadata", "records"])
def test_folder_that_is_closed_to_all_fails_all_in_one_go(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path, folder: str
) -> None:
    """Each fails with kind `sink`; there is no temporary file, and no record without its file."""
    (tmp_path / folder).mkdir()
    (tmp_path / "records").mkdir(exist_ok=True)
    (tmp_path / "records/.lock").touch()
    (tmp_path / folder).chmod(0o555)

    with bound_by_permissions():
        assert not run("refresh_flags", instance, flag_server, tmp_path)

    assert kinds_of(instance) == dict.fromkeys(CODES, ErrorKind.SINK)
    assert statuses_of(instance).materialized == []
    assert temporaries_in(tmp_path) == []


def damaged_record(path: tuple[str | int, ...], value: object) -> Callable[[Path, str], None]:
    """Give the country's record a value that is out of bounds."""

    def damage(store: Path, code: str) -> None:
        place = store / f"records/{code}.json"
        known = replace(load_record(place.read_bytes()), changes=(change_of(code),))
        place.write_text(json.dumps(changed(known, path, value)))

    return damage


def occupied(folder: str, kind: str) -> Callable[[Path, str], None]:
    """Put what is no file in the place of one of the country's files."""

    def damage(store: Path, code: str) -> None:
        [place] = store.glob(f"{folder}/{code}[.-]*")
        occupy(place, kind)

    return damage


DAMAGES = [
    *(damaged_record(path, value) for path, values in DAMAGE for value in values),
    *(occupied(folder, kind) for folder in ("flags", "metadata", "records") for kind in OCCUPANTS),
]
# None of these is meant by a damage.
DAMAGED = dict(zip((code for code in iso_codes() if code not in {"CN", "FR", VICTIM}), DAMAGES, strict=False))


@pytest.mark.parametrize(
    ("catalog", "changes"),
    [
        (b"[" * 100_000, b'{"a":' * 100_000),
        (b'[{"code": ["CN"], "sha256": {}}]', b'[{"code": "XX", "old_file": "/etc/passwd"}]'),
    ],
    ids=["nested", "wrong types"],
)
def test_damaged_store_costs_nothing_but_the_country_that_is_answered_badly(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path, catalog: bytes, changes: bytes
) -> None:
    """A damage for each country, and a bad answer for one: the catalog is whole before and after all is mended."""
    assert len(DAMAGED) == len(DAMAGES)
    assert run("refresh_flags", instance, flag_server, tmp_path, codes=iso_codes())
    assert run("rebuild_catalog", instance, flag_server, tmp_path)
    for code, damage in DAMAGED.items():
        damage(tmp_path, code)
    (tmp_path / CATALOG_PATH).write_bytes(catalog)
    (tmp_path / CHANGES_PATH).write_bytes(changes)
    flag_server.script(flag_url_path(VICTIM), [answer(200, b"<html>")])

    assert run("rebuild_catalog", instance, flag_server, tmp_path)
    assert {row.code for row in load_rows((tmp_path / CATALOG_PATH).read_bytes())} == set(iso_codes())

    assert not run("refresh_flags", instance, flag_server, tmp_path, codes=iso_codes())
    assert {code: miss.kind for code, miss in statuses_of(instance, iso_codes()).failed.items()} == {
        VICTIM: ErrorKind.CONTRACT
    }
    check_store(tmp_path, [code for code in iso_codes() if code != VICTIM])
    assert run("rebuild_catalog", instance, flag_server, tmp_path)
    rows = load_rows((tmp_path / CATALOG_PATH).read_bytes())
    assert {row.code: row.status for row in rows} == {**dict.fromkeys(iso_codes(), "ok"), VICTIM: "stale"}


def test_row_says_why_a_file_cannot_be_read(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """A folder, 3 GB and a closed file cost the catalog one row each, in a store that is as it was otherwise."""
    assert run("refresh_flags", instance, flag_server, tmp_path)
    for folder, code, kind in (("records", "AD", "folder"), ("flags", "AE", "folder"), ("flags", "AG", "3 GB")):
        occupied(folder, kind)(tmp_path, code)
    [closed] = tmp_path.glob("flags/AI-*")
    closed.chmod(0)
    (tmp_path / "records/AL.json").chmod(0)

    with bound_by_permissions():
        assert run("rebuild_catalog", instance, flag_server, tmp_path)

    rows = {row.code: row for row in load_rows((tmp_path / CATALOG_PATH).read_bytes())}
    assert len(rows) == 249
    assert {code: (rows[code].status, rows[code].reason) for code in CODES if rows[code].reason} == {
        "AD": ("missing", f"sink: cannot use records/AD.json in the store: Is a directory; {REPLACED}"),
        "AE": ("stale", f"sink: cannot use {rows['AE'].file} in the store: Is a directory; {REPLACED}"),
        "AG": ("stale", f"sink: cannot use {rows['AG'].file} in the store: more than 67,108,864 bytes; {REPLACED}"),
        "AI": ("stale", f"sink: cannot use {rows['AI'].file} in the store: Permission denied"),
        "AL": ("missing", "sink: cannot use records/AL.json in the store: Permission denied"),
    }


def test_replaced_flag_that_cannot_be_read_is_shown_as_lost(
    instance: dg.DagsterInstance, flag_server: FlagServer, tmp_path: Path
) -> None:
    """A folder in the history's place of a flag fails neither the table of changes nor the page."""
    assert run("refresh_flags", instance, flag_server, tmp_path)
    flag_server.script(flag_url_path("AD"), [answer(200, picture("GIF", size=(60, 40)))])
    assert run("refresh_flags", instance, flag_server, tmp_path)
    [kept] = (tmp_path / "history/AD").iterdir()
    occupy(kept, "folder")

    assert run("rebuild_catalog", instance, flag_server, tmp_path)


@pytest.mark.parametrize("folder", FOLDERS)
async def test_folder_that_is_a_link_lets_nothing_out(tmp_path: Path, folder: str) -> None:
    """No file is made, changed or deleted where the link leads, and a write there raises an error."""
    outside, store = tmp_path / "outside", tmp_path / "store"
    outside.mkdir()
    store.mkdir()
    (store / folder).symlink_to(outside)
    stale = outside / f"{TEMPORARY_PREFIX}old"
    stale.write_bytes(b"half")
    long_ago = time.time() - STALE_TEMPORARY_S - 60
    os.utime(stale, (long_ago, long_ago))

    with pytest.raises(SinkError):
        async with FileSink(str(store)) as sink:
            await sink.write(f"{folder}/CN.json", b"x")

    assert [path.name for path in outside.iterdir()] == [stale.name]


async def test_links_in_the_history_are_not_followed(tmp_path: Path) -> None:
    """A replaced flag is not written through a link, and old files are not deleted through one."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x")
    async with FileSink(str(tmp_path / "store")) as sink:
        (tmp_path / "store/history/CN").symlink_to(outside)

        with pytest.raises(SinkError, match="symbolic link"):
            await sink.write("history/CN/a.gif", gif())
        with pytest.raises(SinkError, match="symbolic link"):
            await sink.keep_only("history/CN", [])

    assert [path.name for path in outside.iterdir()] == ["precious"]


async def test_link_that_leads_round_in_a_circle_is_an_error(tmp_path: Path) -> None:
    """The run ends with an error instead of an endless loop."""
    (tmp_path / "flags").symlink_to(tmp_path / "flags")

    with pytest.raises(SinkError, match="symbolic link"):
        async with FileSink(str(tmp_path)) as sink:
            await sink.save(record(), image=flag())


def test_two_runs_at_once_leave_whole_countries(tmp_path: Path) -> None:
    """Two processes with two homes, one store, and other names and flags for every country: the last one wins."""
    names = {"one": "Name", "other": "Other name"}
    with running_flag_server() as one, running_flag_server() as other:
        for server, name in ((one, names["one"]), (other, names["other"])):
            content = picture("GIF", size=(20 + len(name), 20))
            for code in CODES:
                document = json.dumps({"country": name, "iso_cc": code}).encode()
                server.script(metadata_url_path(code), [answer(200, document)])
                server.script(flag_url_path(code), [answer(200, content)])
        environments = [
            {"FLAG_STORE": str(tmp_path / "store"), "FLAG_SOURCE": server.url, "DAGSTER_HOME": str(tmp_path / home)}
            for server, home in ((one, "one"), (other, "other"))
        ]
        for environment in environments:
            install_dagster_home(Path(environment["DAGSTER_HOME"]))
        processes = [start(["run", *CODES, "--json"], environment) for environment in environments]
        for process in processes:
            process.join()
        check_nothing_is_torn(tmp_path / "store", {*names.values()})

        last = start(["run", *CODES, "--json"], environments[0])
        last.join()

    assert last.exitcode == 0
    check_store(tmp_path / "store", CODES)
    assert {path.stem[3:] for path in (tmp_path / "store/flags").iterdir()} == {"Name"}
    assert temporaries_in(tmp_path / "store") == []


def check_nothing_is_torn(store: Path, names: set[str]) -> None:
    """The flag that a record names exists and is the one that it describes, whichever run wrote last."""
    for code in CODES:
        known = load_record((store / f"records/{code}.json").read_bytes())
        assert known.image is not None
        assert known.country is not None
        assert known.country.name in names
        assert (store / known.image.file).stat().st_size == known.image.size_bytes
        assert json.loads((store / f"metadata/{code}.json").read_bytes())["name"] in names
    assert len(json.loads((store / CATALOG_PATH).read_bytes())) == 249
