"""What the sink guarantees on a local folder, on another URL and in a bucket of a real S3 server."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from flag_pipeline.core.layout import CATALOG_PATH, FLAGS, FOLDERS, record_path
from flag_pipeline.core.models import FlagRecord, LastFailure
from flag_pipeline.core.records import dump_country, dump_record
from flag_pipeline.core.sink import FileSink
from flag_pipeline.definitions import build_definitions
from flag_pipeline.errors import ErrorKind, SinkError
from flag_pipeline.settings import load_settings
from flag_pipeline.stores.open_store import open_store
from flag_pipeline.stores.store import MAX_RECORD_BYTES, Store
from flag_pipeline_tests.e2e.deployment import free_port
from flag_pipeline_tests.flag_server import FlagServer, answer
from flag_pipeline_tests.samples import flag, gif, picture, record
from flag_pipeline_tests.seaweed import GUEST, SeaweedFS

AWKWARD_NAMES = ["Côte d'Ivoire", "Åland Islands", "a b+c%20&d=e?", "~(x)!*'", "中国", "e\u0301 or é", "-", "."]


@pytest.fixture(params=["folder", "url", pytest.param("bucket", marks=[pytest.mark.distributed, pytest.mark.e2e])])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The store's URL. Each test has a prefix instead of a bucket, because making a bucket is slow."""
    if request.param == "folder":
        return str(tmp_path / "store")
    if request.param == "url":
        return f"memory://{uuid.uuid4().hex}"
    seaweed: SeaweedFS = request.getfixturevalue("seaweed")
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    return f"{seaweed.make_bucket('flags')}/some/{uuid.uuid4().hex}"


@pytest.fixture
async def sink(place: str) -> AsyncIterator[FileSink]:
    """A sink on an empty store."""
    async with FileSink(place) as sink:
        yield sink


@pytest.fixture
def beside(place: str) -> Store:
    """The same store, without the sink."""
    store = open_store(place)
    store.prepare(FOLDERS)
    return store


async def files_of(store: Store, *folders: str) -> set[str]:
    """The paths of all visible files in *folders*, by default in all folders of the sink."""
    folders = folders or FOLDERS
    paths = {f"{folder}/{name}" for folder in folders for name in await asyncio.to_thread(store.names, folder)}
    return {path for path in paths if not any(path in folder for folder in FOLDERS)}


async def test_saved_country_is_read_back(sink: FileSink, beside: Store) -> None:
    """There are three files with the content that was given."""
    known = record()
    assert known.country is not None

    await sink.save(known, image=flag(), country=known.country)

    assert await files_of(beside) == {"flags/CN-China.gif", "metadata/CN.json", "records/CN.json"}
    assert (await sink.records()).get("CN") == known
    assert await sink.records() == {"CN": known}
    assert await sink.read("flags/CN-China.gif") == gif()
    assert await sink.read("metadata/CN.json") == dump_country(known.country)


async def test_what_is_not_there_is_none(sink: FileSink) -> None:
    """A missing file is a value, not an error."""
    assert await sink.read("flags/none.gif") is None
    assert await sink.records() == {}
    await sink.keep_only("history/CN", [])


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 40_000], ids=["empty", "short", "10 MB"])
async def test_content_comes_back_as_it_was(sink: FileSink, content: bytes) -> None:
    """The size does not matter; a large object is one PUT too."""
    await sink.write("catalog/a", content)
    await sink.write("catalog/a", content)

    assert await sink.read("catalog/a") == content


@pytest.mark.parametrize("name", AWKWARD_NAMES)
async def test_awkward_name_is_found_under_itself(sink: FileSink, beside: Store, name: str) -> None:
    """A name is neither escaped nor normalised."""
    known = record(name=name)
    assert known.image is not None

    await sink.save(known, image=flag())

    assert await sink.read(known.image.file) == gif()
    assert known.image.file in await files_of(beside)
    assert not sink.has_orphaned_files(known)


async def test_renamed_country_keeps_one_flag(sink: FileSink, beside: Store) -> None:
    """The file with the old name is deleted after the new one is written."""
    await sink.save(record(), image=flag())

    await sink.save(record(name="Middle Kingdom"), image=flag())

    assert await files_of(beside, FLAGS) == {"flags/CN-Middle_Kingdom.gif"}


async def test_flag_of_the_version_before_is_renamed(sink: FileSink, place: str, beside: Store) -> None:
    """Version 0.1.0 wrote spaces: the file gets its new name when it is saved again, and the record names it."""
    known = record(name="Middle Kingdom")
    assert known.image is not None
    spaced = replace(known, image=replace(known.image, file="flags/CN-Middle Kingdom.gif"))
    await sink.save(spaced, image=flag(), country=known.country)
    async with FileSink(place) as later:
        assert (await later.load("CN")).flag == gif()

        await later.save(known, image=flag())

        assert (await later.load("CN")).record == known
    assert await files_of(beside, FLAGS) == {"flags/CN-Middle_Kingdom.gif"}


async def test_new_file_is_seen_at_once(sink: FileSink, place: str, beside: Store) -> None:
    """Listings are not cached: a file that another process has just written is listed."""
    assert await files_of(beside) == set()
    async with FileSink(place) as other:
        await other.save(record(), image=flag())

    assert await files_of(beside, FLAGS) == {"flags/CN-China.gif"}
    assert await sink.records() == {"CN": record()}


async def test_orphaned_files_of_a_killed_run_are_found_and_deleted(place: str, beside: Store) -> None:
    """The next save deletes an image that no record names; images of other countries stay."""
    async with FileSink(place) as sink:
        await sink.save(record(), image=flag())
    await asyncio.to_thread(beside.write, "flags/CN-Cathay.gif", gif())
    await asyncio.to_thread(beside.write, "flags/CNX-Other.gif", gif())

    async with FileSink(place) as sink:
        assert sink.has_orphaned_files(record())
        await sink.save(record())
        assert not sink.has_orphaned_files(record())

    assert await files_of(beside, FLAGS) == {"flags/CN-China.gif", "flags/CNX-Other.gif"}


async def test_orphaned_file_that_another_run_deleted_is_no_error(place: str, beside: Store) -> None:
    """Two runs may delete the same file."""
    await asyncio.to_thread(beside.write, "flags/CN-Cathay.gif", gif())
    async with FileSink(place) as sink:
        await asyncio.to_thread(beside.delete, "flags/CN-Cathay.gif")

        await sink.save(record(), image=flag())

    assert await files_of(beside, FLAGS) == {"flags/CN-China.gif"}


async def test_record_is_not_written_for_a_flag_that_is_gone(sink: FileSink, beside: Store) -> None:
    """Another run may have renamed the image, and a record names only files that exist."""
    with pytest.raises(SinkError, match="has disappeared"):
        await sink.save(record())

    assert await files_of(beside) == set()


async def test_record_of_a_lost_flag_is_written_on_demand(place: str, beside: Store) -> None:
    """The only image stays, whatever its name, because another run may have just written it."""
    known = record()
    await asyncio.to_thread(beside.write, "flags/CN-Cathay.gif", gif())

    async with FileSink(place) as sink:
        await sink.save(known, country=known.country, lost=True)

        assert (await sink.records()).get("CN") == known
    assert await files_of(beside) == {"flags/CN-Cathay.gif", "metadata/CN.json", "records/CN.json"}


async def test_failure_is_recorded_beside_the_stored_country(sink: FileSink, beside: Store) -> None:
    """The failure is recorded once, with the flag or without it."""
    failure = LastFailure(ErrorKind.TIMEOUT, "slow")
    await sink.save(record(), image=flag())
    await asyncio.to_thread(beside.delete, "flags/CN-China.gif")

    assert [await sink.record_failure(code, failure) for code in ("CN", "CN", "FR")] == [True, False, True]

    assert await sink.records() == {
        "CN": replace(record(), last_failure=failure),
        "FR": FlagRecord("FR", last_failure=failure),
    }


async def test_only_what_is_kept_stays_in_a_folder(sink: FileSink, beside: Store) -> None:
    """Files of one folder are deleted; files of other folders stay."""
    for path in ("history/CN/a.png", "history/CN/b.png", "history/CNX/a.png"):
        await sink.write(path, b"x")

    await sink.keep_only("history/CN", ["history/CN/b.png"])

    assert await files_of(beside, "history/CN", "history/CNX") == {"history/CN/b.png", "history/CNX/a.png"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        dump_record(record("FR")),
        dump_record(record())[:-20],
        dump_record(record()).replace(b"flags/CN-", b"../../etc/"),
        dump_record(record()).replace(b"flags/CN-", b"flags/FR-"),
    ],
)
async def test_damaged_record_is_as_good_as_none(sink: FileSink, beside: Store, content: bytes) -> None:
    """It is cut, empty, another country's, or names files elsewhere: the country is fetched again."""
    await asyncio.to_thread(beside.write, record_path("CN"), content)

    assert await sink.records() == {}


async def test_no_more_is_read_than_a_file_may_have(sink: FileSink, beside: Store) -> None:
    """A record of more than 4 MiB counts as none for a fetch, has a reason for the catalog, and is replaced."""
    large = dump_record(record()) + b" " * MAX_RECORD_BYTES
    await asyncio.to_thread(beside.write, record_path("CN"), large)

    assert await asyncio.to_thread(beside.read, record_path("CN"), len(large)) == large
    with pytest.raises(OSError, match="more than 1,000 bytes"):
        await asyncio.to_thread(beside.read, record_path("CN"), 1000)
    [found] = (await sink.records()).values()
    assert found.last_failure is not None
    assert found.last_failure.reason.endswith("more than 4,194,304 bytes; the next fetch replaces it")
    await sink.save(record(), image=flag())
    assert await sink.records() == {"CN": record()}


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "flags/../../x", "flags/../../../../tmp/x"])
async def test_no_path_leaves_the_store(sink: FileSink, path: str) -> None:
    """It can be neither read nor written."""
    with pytest.raises(SinkError, match="leads out of the store"):
        await sink.write(path, b"x")
    with pytest.raises(SinkError, match="leads out of the store"):
        await sink.read(path)


async def test_two_sinks_leave_one_whole_state(place: str, beside: Store) -> None:
    """Two workers save the same country under two names at once: the record names a file that is there."""
    async with FileSink(place) as one, FileSink(place) as other:
        for number in range(20):
            await asyncio.gather(
                one.save(record(name=f"A{number}"), image=flag()), other.save(record(name=f"B{number}"), image=flag())
            )
            known = (await one.records()).get("CN")
            assert known is not None
            assert known.image is not None
            assert await other.read(known.image.file) == gif()

    async with FileSink(place) as sink:
        last = (await sink.records()).get("CN")
        assert last is not None
        assert last.image is not None
        await sink.save(last, image=flag())
        assert await files_of(beside, FLAGS) == {last.image.file}


async def test_reader_never_sees_half_a_file(sink: FileSink) -> None:
    """While a file is replaced repeatedly, a reader gets one version or the other."""
    versions = [letter * 300_000 for letter in (b"a", b"b")]
    await sink.write("catalog/a", versions[0])
    seen: list[bytes | None] = []

    async def replace_often() -> None:
        for number in range(30):
            await sink.write("catalog/a", versions[number % 2])

    async with asyncio.TaskGroup() as group:
        writing = group.create_task(replace_often())
        while not writing.done():
            seen.append(await sink.read("catalog/a"))

    assert set(seen) <= {*versions}


async def test_failure_of_a_country_without_flag_is_kept(sink: FileSink) -> None:
    """A record without an image is saved and read."""
    await sink.save(replace(FlagRecord("FR")))

    assert (await sink.records()).get("FR") == FlagRecord("FR")


def test_run_over_many_countries_fills_the_store(place: str, flag_server: FlagServer) -> None:
    """A Dagster run writes files, history and catalog; a failing country keeps its files."""
    settings = load_settings(source=flag_server.url, store=place, attempts=1)
    definitions = build_definitions(settings)
    quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    stretch = {"dagster/asset_partition_range_start": "AD", "dagster/asset_partition_range_end": "AG"}
    with dg.DagsterInstance.ephemeral() as instance:
        refresh, rebuild = (definitions.resolve_job_def(name) for name in ("refresh_flags", "rebuild_catalog"))
        assert refresh.execute_in_process(quiet, instance, tags=stretch).success
        flag_server.break_country("AE", answer(500))
        flag_server.script("/ad/ad.gif", [answer(body=picture("GIF"))])
        assert not refresh.execute_in_process(quiet, instance, tags=stretch, raise_on_error=False).success
        assert rebuild.execute_in_process(quiet, instance).success

    store = open_store(place)
    assert sorted(name[:2] for name in store.names(FLAGS)) == ["AD", "AE", "AF", "AG"]
    assert len(store.names("history/AD")) == 1
    assert b'"stale"' in store.read(CATALOG_PATH)


Breakage = Callable[[SeaweedFS], tuple[str, dict[str, str]]]


@pytest.mark.distributed
@pytest.mark.e2e
@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (lambda s: ("s3://no-such-bucket/x", s.environment()), "there is no bucket no-such-bucket"),
        (lambda s: ("s3://Not_A_Name/x", s.environment()), "there is no bucket Not_A_Name|no name for a bucket"),
        (lambda s: (s.make_bucket("denied"), s.environment(key=GUEST)), "access to bucket denied is denied"),
        (lambda s: (s.make_bucket("flags"), s.environment(key="nobody")), "AWS_ACCESS_KEY_ID is unknown"),
        (lambda s: (s.make_bucket("flags"), s.environment(secret=GUEST)), "AWS_SECRET_ACCESS_KEY is wrong"),
        (lambda s: ("s3://flags", s.environment(port=free_port())), "cannot reach http://127.0.0.1:"),
    ],
    ids=["no bucket", "bad name", "denied", "unknown key", "wrong secret", "unreachable"],
)
async def test_bucket_that_cannot_be_used_is_named_in_one_line(
    seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch, breakage: Breakage, message: str
) -> None:
    """The message comes before the first request, and names the wrong variable or bucket."""
    url, environment = breakage(seaweed)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SinkError, match=message) as caught:
        async with FileSink(url):
            pass

    assert "\n" not in str(caught.value)


@pytest.mark.distributed
@pytest.mark.e2e
async def test_bucket_that_vanishes_meanwhile_costs_one_country_at_a_time(
    seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading is an error then, not an empty store."""
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    async with FileSink(seaweed.make_bucket("short-lived")) as sink:
        await sink.write("catalog/a", b"x")
        seaweed.drop_bucket("short-lived")

        with pytest.raises(SinkError, match="there is no bucket short-lived"):
            await sink.save(record(), image=flag())
        with pytest.raises(SinkError, match="there is no bucket short-lived"):
            await sink.read("catalog/a")
