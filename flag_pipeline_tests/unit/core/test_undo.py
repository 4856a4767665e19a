"""Undoing what a run has stored of a country whose answers turn out to be in doubt."""

import asyncio
import shutil
from pathlib import Path

import pytest

from flag_pipeline.core.models import FlagFailed, FlagSaved, FlagUnchanged
from flag_pipeline.core.refresh import Refresher
from flag_pipeline.core.sink import FileSink
from flag_pipeline_tests.fakes import FakeSource
from flag_pipeline_tests.samples import gif

METADATA = b'{"country": "China", "iso_cc": "CN"}'
WRONG_METADATA = b'{"country": "Elsewhere", "iso_cc": "CN"}'


@pytest.fixture
def source() -> FakeSource:
    """A source that has China."""
    return FakeSource({"cn/cn.gif": gif(), "cn/metadata.json": METADATA})


def run_of(source: FakeSource, sink: FileSink, *, history_keep: int = 10) -> Refresher:
    """A run of its own on the same store."""
    return Refresher(source, sink, history_keep=history_keep)  # type: ignore[arg-type]


def files_in(root: Path) -> dict[str, bytes]:
    """Everything below *root* but the store's own locks, and thumbnails, which depend on nothing but the image."""
    visible = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    files = [path for path in visible if "thumbnails" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


async def swap(source: FakeSource, sink: FileSink, *, history_keep: int = 10) -> Refresher:
    """Run once with another country's flag in place of the right one, and cast doubt on that answer."""
    source.files = {"cn/cn.gif": gif("ZW"), "cn/metadata.json": WRONG_METADATA}
    run = run_of(source, sink, history_keep=history_keep)
    await run.refresh("CN")
    source.connections.doubtful = {"CN"}
    source.files = {"cn/cn.gif": gif(), "cn/metadata.json": METADATA}
    return run


async def test_first_flag_is_taken_back(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """Nothing is left of it, and the next answer is stored as the first one."""
    run = await swap(source, sink)

    assert await run.take_back() == {"CN"}
    assert await asyncio.to_thread(files_in, tmp_path) == {}

    outcome = await run.refresh("CN")
    assert isinstance(outcome, FlagSaved)
    assert outcome.record.image is not None
    assert outcome.record.image.n_changes == 0
    assert (tmp_path / "flags/CN-China.gif").read_bytes() == gif()


async def test_replaced_flag_comes_back(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """All files are those from before the run, so that a country that is as it was is unchanged."""
    await run_of(source, sink).refresh("CN")
    before = await asyncio.to_thread(files_in, tmp_path)
    run = await swap(source, sink)

    await run.take_back()

    assert await asyncio.to_thread(files_in, tmp_path) == before
    assert isinstance(await run.refresh("CN"), FlagUnchanged)
    assert await run.take_back() == set()


async def test_replaced_flag_that_was_not_kept_is_fetched_in_full(
    source: FakeSource, sink: FileSink, tmp_path: Path
) -> None:
    """Without a history its bytes are lost until the source is asked again, and the other country's are gone too."""
    saved = await run_of(source, sink).refresh("CN")
    run = await swap(source, sink, history_keep=0)

    await run.take_back()

    assert isinstance(saved, FlagSaved)
    assert (await sink.records())["CN"] == saved.record
    assert list((tmp_path / "flags").glob("*.gif")) == []
    assert isinstance(await run.refresh("CN"), FlagSaved)
    assert (tmp_path / "flags/CN-China.gif").read_bytes() == gif()


async def test_country_that_changed_nothing_is_left_alone(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """It is still fetched again."""
    await run_of(source, sink).refresh("CN")
    before = await asyncio.to_thread(files_in, tmp_path)
    run = run_of(source, sink)
    await run.refresh("CN")
    source.connections.doubtful = {"CN"}

    assert await run.take_back() == {"CN"}
    assert await asyncio.to_thread(files_in, tmp_path) == before


async def test_store_that_refuses_costs_no_other_country(
    source: FakeSource, sink: FileSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the country, and the next answer replaces the doubtful one."""
    await run_of(source, sink).refresh("CN")
    run = await swap(source, sink)
    await asyncio.to_thread(shutil.rmtree, tmp_path / "flags")

    assert await run.take_back() == {"CN"}

    assert "CN: a doubtful answer stays stored until the next one" in caplog.text
    assert isinstance(await run.refresh("CN"), FlagFailed)
    async with FileSink(str(tmp_path)) as mended:
        assert isinstance(await run_of(source, mended).refresh("CN"), FlagSaved)
    assert (tmp_path / "flags/CN-China.gif").read_bytes() == gif()
