"""Images that are slow to decode or damaged: each fails only its country, in runs and in catalogs."""

import asyncio
import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from flag_pipeline.catalog.rows import load_rows
from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.layout import flag_path
from flag_pipeline.core.records import dump_record, load_record
from flag_pipeline.core.sink import FileSink
from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.keys import FLAG_IMAGE
from flag_pipeline.errors import ImageError
from flag_pipeline.settings import Settings, load_settings
from flag_pipeline_tests.flag_server import FlagServer, answer, flag_url_path
from flag_pipeline_tests.pictures import png, scans
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.samples import gif

QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
# 17 seconds to decode, in 350 kB, and a picture whose blocks are in order but whose data end too early.
SLOW, DAMAGED = scans(5000, side=2000), png((4, 4), bits=8, colour=0, rows=b"\0\1")


@pytest.fixture
def settings(flag_server: FlagServer, tmp_path: Path) -> Settings:
    """Settings for the test's own server and store."""
    return load_settings(source=flag_server.url, store=str(tmp_path / "store"), attempts=1)


def run(instance: dg.DagsterInstance, settings: Settings, job: str) -> dg.ExecuteInProcessResult:
    """Run the job for all countries."""
    config = {**QUIET, "ops": {"fetch_flags": {"config": {"countries": list(iso_codes())}}}}
    return (
        build_definitions(settings)
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance, run_config=config if job == "refresh_flags" else QUIET, raise_on_error=False
        )
    )


def test_slow_flag_among_all_countries_fails_alone(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """The other 248 are recorded, the decoder thread has ended, and the catalog has every row."""
    flag_server.script(flag_url_path("AD"), [answer(200, SLOW)])
    # Earlier tests leave decoders open.
    earlier = {*threading.enumerate()}

    result = run(instance, settings, "refresh_flags")

    assert not result.success
    assert instance.get_materialized_partitions(FLAG_IMAGE) == {*iso_codes()} - {"AD"}
    [failure] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert "AD contract: the jpeg of 2000x2000 has 5000 scans" in (failure.user_failure_data.description or "")
    for thread in {*threading.enumerate()} - earlier:
        if thread.name == "flag-decoder":
            thread.join()


def replace_stored(store: Path, code: str, content: bytes, kind: str) -> None:
    """Store *content* with a record, as an earlier version did."""
    path = store / "records" / f"{code}.json"
    record = load_record(path.read_bytes())
    assert record.image is not None
    file = flag_path(code, "x", kind)
    image = replace(record.image, file=file, format=kind, sha256=hashlib.sha256(content).hexdigest())
    (store / file).write_bytes(content)
    path.write_bytes(dump_record(replace(record, image=replace(image, size_bytes=len(content), derived=None))))


def test_slow_and_damaged_flags_in_the_store_do_not_block_the_catalog(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    """Their rows have no colours, the check names them, and the page and the contact sheet show the others."""
    run(instance, settings, "refresh_flags")
    store = Path(settings.store)
    replace_stored(store, "AD", SLOW, "jpeg")
    replace_stored(store, "AE", DAMAGED, "png")

    result = run(instance, settings, "rebuild_catalog")

    assert result.success
    rows = {row.code: row for row in load_rows((store / "catalog/catalog.json").read_bytes())}
    assert len(rows) == 249
    assert [code for code, row in rows.items() if not row.colours] == ["AD", "AE"]
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks["files_match_their_hashes"].metadata["countries"].value == "AD, AE"
    [gallery] = result.asset_materializations_for_node("flag_gallery")
    assert gallery.metadata["n_flags"].value == 247


def test_replaced_slow_flag_does_not_block_the_history(
    instance: dg.DagsterInstance, settings: Settings, flag_server: FlagServer
) -> None:
    """An earlier version kept it; it is shown as lost."""
    run(instance, settings, "refresh_flags")
    flag_server.script(flag_url_path("AD"), [answer(200, striped("red", "blue"))])
    run(instance, settings, "refresh_flags")
    store = Path(settings.store)
    [kept] = (store / "history/AD").iterdir()
    slow_sha256 = hashlib.sha256(SLOW).hexdigest()
    kept.with_name(f"{slow_sha256}.gif").write_bytes(SLOW)
    path = store / "records/AD.json"
    path.write_bytes(path.read_bytes().replace(kept.stem.encode(), slow_sha256.encode()))

    result = run(instance, settings, "rebuild_catalog")

    assert result.success
    assert slow_sha256 in json.dumps(json.loads((store / "history/changes.json").read_bytes()))


async def test_what_cannot_be_decoded_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the file and the reason."""

    def make(key: str, content: bytes) -> int:
        if key == "AD":
            raise ImageError("no picture")
        return len(content)

    async with FileSink(str(tmp_path)) as sink:
        files = {}
        for code in ("AD", "CN"):
            await sink.write(f"flags/{code}.gif", gif(code))
            files[code] = (f"flags/{code}.gif", hashlib.sha256(gif(code)).hexdigest())
        examined = await sink.examine(files, make)

    assert examined == {"CN": len(gif("CN"))}
    assert "flags/AD.gif is left out: no picture" in caplog.text


async def test_store_that_is_closed_ends_after_the_file_in_hand(tmp_path: Path) -> None:
    """An interrupted catalog does not read all other flags first."""
    begun, may_end, examined = threading.Event(), threading.Event(), []

    def make(key: str, _content: bytes) -> None:
        examined.append(key)
        begun.set()
        may_end.wait()

    async with FileSink(str(tmp_path), threads=1) as sink:
        await sink.write("flags/CN.gif", gif())
        file = ("flags/CN.gif", hashlib.sha256(gif()).hexdigest())
        task = asyncio.create_task(sink.examine({str(number): file for number in range(9)}, make))
        await asyncio.to_thread(begun.wait)
        asyncio.get_running_loop().call_soon(may_end.set)

    assert await task == {"0": None}
    assert examined == ["0"]
