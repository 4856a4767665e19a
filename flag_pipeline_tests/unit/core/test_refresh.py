"""A country's refresh: what is stored, what is asked for again, and what a failure leaves."""

import asyncio
import hashlib
import json
import shutil
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flag_pipeline.bounds import MAX_REASON_CHARS
from flag_pipeline.core.countries import iso_country
from flag_pipeline.core.layout import thumbnail_path
from flag_pipeline.core.models import FlagFailed, FlagNotFound, FlagSaved, FlagUnchanged, LastFailure
from flag_pipeline.core.presets import find_preset
from flag_pipeline.core.refresh import Refresher, trusted
from flag_pipeline.core.sink import FileSink
from flag_pipeline.errors import ErrorKind, FlagNotFoundError, SourceContractError, SourceError, TransientSourceError
from flag_pipeline.fetching.client import Answer, FetchCounter
from flag_pipeline.fetching.models import FetchStatistics, Validators
from flag_pipeline.images.features import describe_features, distance_bits
from flag_pipeline.images.models import FlagImage
from flag_pipeline_tests.fakes import FakeSource
from flag_pipeline_tests.pictures import encoded, exif, scans
from flag_pipeline_tests.samples import flag, gif, picture


@pytest.fixture
def source() -> FakeSource:
    """A source that has China."""
    return FakeSource({"cn/cn.gif": gif(), "cn/metadata.json": document("China")})


def document(name: str) -> bytes:
    """A metadata document for China."""
    return json.dumps({"country": name, "iso_cc": "CN"}).encode()


def written_at(root: Path) -> dict[str, int]:
    """When each file below *root* was last written."""
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*.*")}


def refresher(source: FakeSource, sink: FileSink, **wanted: bool) -> Refresher:
    """A refresher of both files, or of those that are wanted."""
    return Refresher(source, sink, **wanted)  # type: ignore[arg-type]


async def test_new_country_is_saved(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """Both files are written, and the record has the URL and the time of the flag."""
    before = datetime.now(UTC).replace(microsecond=0)
    outcome = await refresher(source, sink).refresh("CN")
    after = datetime.now(UTC)

    assert isinstance(outcome, FlagSaved)
    assert (tmp_path / "flags/CN-China.gif").read_bytes() == gif()
    image = outcome.record.image
    assert image is not None
    assert image.source_url == "http://fake/cn/cn.gif"
    assert before <= image.fetched_at <= after
    assert image.fetched_at == image.changed_at == image.first_seen_at
    assert image.n_changes == 0
    assert (await sink.records()).get("CN") == outcome.record


async def test_unchanged_country_is_not_downloaded_again(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """With the stored validators the source answers 304; no file is touched."""
    await refresher(source, sink).refresh("CN")
    before = written_at(tmp_path)

    outcome = await refresher(source, sink).refresh("CN")

    assert isinstance(outcome, FlagUnchanged)
    assert source.n_unchanged == 2
    assert written_at(tmp_path) == before


async def test_unchanged_flag_is_shown_with_the_thumbnail_of_its_record(source: FakeSource, sink: FileSink) -> None:
    """It is in the events of each run, and drawn once."""
    source.files["cn/cn.gif"] = picture("GIF", size=(1200, 800), frames=3)
    saved = await refresher(source, sink).refresh("CN")

    again = await refresher(source, sink).refresh("CN")

    assert isinstance(saved, FlagSaved)
    assert isinstance(again, FlagUnchanged)
    assert again.thumbnail == saved.thumbnail
    assert again.thumbnail.startswith("data:image/webp;base64,")


@pytest.mark.parametrize("file", ["flags/CN-China.gif", "metadata/CN.json"])
@pytest.mark.parametrize("damage", [None, b"", b"x", b"\0" * 300])
async def test_damaged_or_missing_file_is_fetched_in_full(
    source: FakeSource, sink: FileSink, tmp_path: Path, file: str, damage: bytes | None
) -> None:
    """What "unchanged" would refer to is not there any more: no condition is sent, and the file is mended."""
    await refresher(source, sink).refresh("CN")
    whole = (tmp_path / file).read_bytes()
    if damage is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(damage)

    outcome = await refresher(source, sink).refresh("CN")

    assert isinstance(outcome, FlagSaved)
    assert outcome.only_row_changed is file.startswith("flags")
    assert source.n_unchanged == 1
    assert (tmp_path / file).read_bytes() == whole


async def test_damaged_record_means_a_full_fetch(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """It is written again; the good files stay as they are."""
    await refresher(source, sink).refresh("CN")
    (tmp_path / "records/CN.json").write_bytes(b"{")

    outcome = await refresher(source, sink).refresh("CN")

    assert isinstance(outcome, FlagSaved)
    assert source.n_unchanged == 0
    assert (await sink.records()).get("CN") == outcome.record


async def test_record_that_has_lost_its_country_means_the_whole_document(source: FakeSource, sink: FileSink) -> None:
    """The answer "unchanged" would have no name to save the flag under."""
    saved = await refresher(source, sink).refresh("CN")
    assert isinstance(saved, FlagSaved)
    await sink.save(replace(saved.record, country=None))

    outcome = await refresher(source, sink).refresh("CN")

    assert isinstance(outcome, FlagSaved)
    assert outcome.record.country == saved.record.country


async def test_validators_of_another_source_are_not_sent(source: FakeSource, sink: FileSink) -> None:
    """They would mean nothing to it, or worse, the wrong thing."""
    await refresher(source, sink).refresh("CN")
    source.preset = find_preset("http://other")

    await refresher(source, sink).refresh("CN")

    assert source.n_unchanged == 0


async def test_change_is_dated(source: FakeSource, sink: FileSink) -> None:
    """The same bytes again leave `changed_at`, others move it."""
    first = await refresher(source, sink).refresh("CN")
    source.files["cn/cn.gif"] = picture("GIF")

    second = await refresher(source, sink).refresh("CN")

    assert isinstance(first, FlagSaved)
    assert isinstance(second, FlagSaved)
    assert first.record.image is not None
    assert second.record.image is not None
    assert second.record.image.changed_at >= first.record.image.changed_at
    assert second.record.image.sha256 != first.record.image.sha256


async def test_replaced_flag_is_compared_with_its_successor(source: FakeSource, sink: FileSink) -> None:
    """The change says how different the two look."""
    await refresher(source, sink).refresh("CN")
    source.files["cn/cn.gif"] = picture("GIF")

    second = await refresher(source, sink).refresh("CN")

    assert isinstance(second, FlagSaved)
    [change] = second.record.changes
    assert change.distance_bits is not None


@pytest.mark.parametrize("keep", [0, 10])
async def test_replaced_flag_beyond_the_limits_is_not_kept(
    source: FakeSource, sink: FileSink, tmp_path: Path, keep: int
) -> None:
    """An earlier version stored it; in the history each catalog would decode it for minutes, and so would this run."""
    present = source.settings
    source.settings = present.model_copy(update={"max_scans": 200})
    source.files["cn/cn.gif"] = scans(200)
    await Refresher(source, sink, history_keep=keep).refresh("CN")  # type: ignore[arg-type]
    source.settings = present
    source.files["cn/cn.gif"] = gif()

    outcome = await Refresher(source, sink, history_keep=keep).refresh("CN")  # type: ignore[arg-type]

    assert isinstance(outcome, FlagSaved)
    assert [(change.old_file, change.distance_bits) for change in outcome.record.changes] == [("", None)][:keep]
    assert [path for path in (tmp_path / "history").rglob("*") if path.is_file()] == []
    assert (tmp_path / "flags/CN-China.gif").read_bytes() == gif()


@pytest.mark.parametrize("size", [(16, 8), (600, 400)])
async def test_size_of_a_turned_flag_is_mended_without_fetching_it(
    source: FakeSource, sink: FileSink, size: tuple[int, int]
) -> None:
    """An earlier version recorded it without the EXIF orientation; the file has not changed since."""
    flag = Image.effect_noise(size, 50)
    source.files["cn/cn.gif"] = encoded(flag, "JPEG", exif=b"Exif\0\0" + exif(6))
    saved = await refresher(source, sink).refresh("CN")
    assert isinstance(saved, FlagSaved)
    image = saved.record.image
    assert image is not None
    earlier = replace(image, width_px=size[0], height_px=size[1], derived=None)
    await sink.save(replace(saved.record, image=earlier))

    again = await refresher(source, sink).refresh("CN")

    assert isinstance(again, FlagUnchanged)
    assert (again.record, again.only_row_changed) == (saved.record, True)
    assert source.n_unchanged == 2


async def test_stored_flag_that_would_be_refused_today_keeps_its_record(source: FakeSource, sink: FileSink) -> None:
    """Its file is not decoded again."""
    source.files["cn/cn.gif"] = picture("JPEG")
    saved = await refresher(source, sink).refresh("CN")
    assert isinstance(saved, FlagSaved)
    assert saved.record.image is not None
    odd = source.files["cn/cn.gif"] = picture("JPEG")[:-2]
    image = replace(saved.record.image, sha256=hashlib.sha256(odd).hexdigest())
    await sink.save(replace(saved.record, image=image), image=replace(inspected_as(odd), sha256=image.sha256))

    again = await refresher(source, sink).refresh("CN")

    assert isinstance(again, FlagUnchanged)
    assert again.record.image is not None
    assert (again.record.image.width_px, again.record.image.height_px) == (8, 4)


def inspected_as(content: bytes) -> FlagImage:
    """An image that an earlier version accepted."""
    return replace(flag(picture("JPEG")), content=content)


async def test_slow_flag_costs_its_country_alone(source: FakeSource, sink: FileSink) -> None:
    """It is refused before it is decoded, with the setting to raise; another country's flag is stored."""
    source.files["cn/cn.gif"] = scans(14_000)
    source.files["fr/fr.gif"] = gif("FR")
    source.files["fr/metadata.json"] = json.dumps({"country": "France", "iso_cc": "FR"}).encode()
    both = refresher(source, sink)

    slow, good = await asyncio.gather(both.refresh("CN"), both.refresh("FR"))

    assert isinstance(slow, FlagFailed)
    assert (slow.kind, "raise FLAG_MAX_SCANS" in slow.reason) == (ErrorKind.CONTRACT, True)
    assert isinstance(good, FlagSaved)


async def test_record_of_an_earlier_version_is_completed(
    source: FakeSource, sink: FileSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features and thumbnails are derived once from the stored file; the catalog's row stays as it is."""
    first = await refresher(source, sink).refresh("CN")
    assert isinstance(first, FlagSaved)
    assert first.record.image is not None
    thumbnail = tmp_path / thumbnail_path(first.record.image.sha256)
    await sink.save(replace(first.record, image=replace(first.record.image, derived=None)))
    thumbnail.unlink()

    second = await refresher(source, sink).refresh("CN")

    assert isinstance(second, FlagUnchanged)
    assert second.record == first.record == (await sink.records()).get("CN")
    assert not second.only_row_changed
    assert thumbnail.read_bytes() == flag().page_thumbnail
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", pytest.fail)
    assert (await refresher(source, sink).refresh("CN")).record == first.record  # type: ignore[union-attr]


async def test_distance_to_a_flag_of_an_earlier_version_is_computed_from_its_file(
    source: FakeSource, sink: FileSink
) -> None:
    """Its record has no perceptual hash, or that of other code."""
    distances = []
    for keep in (True, False):
        source.files["cn/cn.gif"] = gif()
        first = await refresher(source, sink).refresh("CN")
        assert isinstance(first, FlagSaved)
        assert first.record.image is not None
        if not keep:
            await sink.save(replace(first.record, image=replace(first.record.image, derived=None)))
        source.files["cn/cn.gif"] = gif("FR")
        second = await refresher(source, sink).refresh("CN")
        assert isinstance(second, FlagSaved)
        distances.append(second.record.changes[-1].distance_bits)

    assert distances == [distance_bits(describe_features(gif()), describe_features(gif("FR")))] * 2


async def test_renamed_country_moves_its_flag(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """The flag is not downloaded again."""
    await refresher(source, sink).refresh("CN")
    source.files["cn/metadata.json"] = document("Zhongguo")

    outcome = await refresher(source, sink).refresh("CN")

    assert isinstance(outcome, FlagSaved)
    assert [path.name for path in (tmp_path / "flags").iterdir()] == ["CN-Zhongguo.gif"]
    assert source.n_unchanged == 1


async def test_file_of_the_version_before_gets_its_new_name(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """Version 0.1.0 kept spaces in names. Nothing is downloaded, and the history has no change."""
    source.files["cn/metadata.json"] = document("Middle Kingdom")
    first = await refresher(source, sink).refresh("CN")
    assert isinstance(first, FlagSaved)
    assert first.record.image is not None
    old = replace(first.record, image=replace(first.record.image, file="flags/CN-Middle Kingdom.gif"))
    await sink.save(old, image=flag())

    outcome = await refresher(source, sink).refresh("CN")

    assert isinstance(outcome, FlagSaved)
    assert (outcome.record, outcome.only_row_changed) == (first.record, True)
    assert source.n_unchanged == 2
    assert [path.name for path in (tmp_path / "flags").iterdir()] == ["CN-Middle_Kingdom.gif"]
    assert not (tmp_path / "history/CN").exists()


async def test_new_validators_alone_change_no_content(source: FakeSource, sink: FileSink) -> None:
    """A server that forgot its ETags sends the same bytes: unchanged, and the new ones are kept."""
    await refresher(source, sink).refresh("CN")
    source.generation += 1

    outcome = await refresher(source, sink).refresh("CN")

    assert isinstance(outcome, FlagUnchanged)
    assert outcome.record == (await sink.records()).get("CN")
    assert not outcome.only_row_changed


async def test_orphaned_files_of_a_killed_run_are_deleted(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """They are deleted although nothing else is saved."""
    await refresher(source, sink).refresh("CN")
    (tmp_path / "flags/CN-Cathay.gif").write_bytes(gif())

    async with FileSink(str(tmp_path)) as later:
        outcome = await refresher(source, later).refresh("CN")

    assert isinstance(outcome, FlagUnchanged)
    assert [path.name for path in (tmp_path / "flags").iterdir()] == ["CN-China.gif"]


async def test_image_alone_still_needs_a_name(source: FakeSource, sink: FileSink) -> None:
    """Metadata that is not stored is fetched for it, once."""
    await refresher(source, sink, metadata=False).refresh("CN")
    await refresher(source, sink, metadata=False).refresh("CN")

    assert source.asked_for == ["cn/metadata.json", "cn/cn.gif", "cn/cn.gif"]


async def test_metadata_alone_fetches_no_image(source: FakeSource, sink: FileSink) -> None:
    """The outcome has no thumbnail either."""
    outcome = await refresher(source, sink, image=False).refresh("CN")

    assert isinstance(outcome, FlagSaved)
    assert (outcome.thumbnail, source.asked_for) == ("", ["cn/metadata.json"])


async def test_failure_keeps_the_last_good_files(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """The record says why the latest attempt failed, and a success clears that."""
    saved = await refresher(source, sink).refresh("CN")
    source.files["cn/cn.gif"] = b"<html>"

    failed = await refresher(source, sink).refresh("CN")
    stale = (await sink.records()).get("CN")
    again = await refresher(source, sink).refresh("CN")
    source.files["cn/cn.gif"] = gif()
    healed = await refresher(source, sink).refresh("CN")

    assert isinstance(saved, FlagSaved)
    assert isinstance(failed, FlagFailed)
    assert (failed.kind, failed.url) == (ErrorKind.CONTRACT, "http://fake/cn/cn.gif")
    assert stale is not None
    assert stale.last_failure is not None
    assert replace(stale, last_failure=None) == saved.record
    assert (tmp_path / "flags/CN-China.gif").read_bytes() == gif()
    assert again == replace(failed, statistics=again.statistics, only_row_changed=False)
    assert failed.only_row_changed
    assert isinstance(healed, FlagUnchanged)
    assert (healed.record.last_failure, healed.only_row_changed) == (None, True)


@pytest.mark.parametrize(
    "error",
    [
        FlagNotFoundError("404", code="CN", url="u"),
        TransientSourceError("503", code="CN", url="u", kind=ErrorKind.SERVER_ERROR),
    ],
)
async def test_failure_is_recorded_although_the_flag_is_lost(
    source: FakeSource, sink: FileSink, tmp_path: Path, error: SourceError
) -> None:
    """The catalog's row has the reason, once: the same failure again changes nothing."""
    saved = await refresher(source, sink).refresh("CN")
    (tmp_path / "flags/CN-China.gif").unlink()
    source.files["cn/metadata.json"] = error

    failed = await refresher(source, sink).refresh("CN")
    again = await refresher(source, sink).refresh("CN")

    assert isinstance(saved, FlagSaved)
    assert (await sink.records()).get("CN") == replace(saved.record, last_failure=LastFailure(error.kind, str(error)))
    assert (failed.only_row_changed, again.only_row_changed) == (True, False)


async def test_metadata_is_stored_although_the_flag_is_lost(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """A run that asks for no flag has none to mend it with; the next that does knows what to compare it to."""
    saved = await refresher(source, sink).refresh("CN")
    (tmp_path / "flags/CN-China.gif").unlink()
    source.files["cn/metadata.json"] = document("Zhongguo")

    renamed = await refresher(source, sink, image=False).refresh("CN")
    mended = await refresher(source, sink).refresh("CN")

    assert isinstance(saved, FlagSaved)
    assert isinstance(renamed, FlagSaved)
    assert renamed.record.image == saved.record.image
    assert json.loads((tmp_path / "metadata/CN.json").read_bytes())["name"] == "Zhongguo"
    assert isinstance(mended, FlagSaved)
    assert (mended.record.changes, mended.only_row_changed) == ((), True)
    assert [path.name for path in (tmp_path / "flags").iterdir()] == ["CN-Zhongguo.gif"]


@pytest.mark.parametrize(
    ("error", "outcome_type", "kind"),
    [
        (FlagNotFoundError("404", code="CN", url="u").after(2), FlagNotFound, ErrorKind.NOT_FOUND),
        (SourceContractError("403", code="CN", url="u").after(2), FlagFailed, ErrorKind.CONTRACT),
    ],
)
async def test_sources_errors_are_outcomes(
    source: FakeSource, sink: FileSink, error: Exception, outcome_type: Any, kind: ErrorKind
) -> None:
    """The outcome has the error's kind, reason, URL and attempts."""
    source.files["cn/metadata.json"] = error

    outcome: Any = await refresher(source, sink).refresh("CN")

    assert isinstance(outcome, outcome_type)
    assert (outcome.kind, outcome.reason, outcome.url, outcome.attempts) == (kind, str(error), "u", 2)


async def test_bug_is_raised(source: FakeSource, sink: FileSink) -> None:
    """The boundary of a partition is in the isolation."""
    source.files["cn/cn.gif"] = RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await refresher(source, sink).refresh("CN")


async def test_cancellation_is_no_outcome(source: FakeSource, sink: FileSink) -> None:
    """CancelledError is raised to the caller."""
    source.files["cn/cn.gif"] = asyncio.CancelledError()

    with pytest.raises(asyncio.CancelledError):
        await refresher(source, sink).refresh("CN")


async def test_store_that_refuses_is_an_outcome_too(
    source: FakeSource, sink: FileSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its kind is `sink`; if the failure cannot be recorded, that is logged."""
    shutil.rmtree(tmp_path / "records")

    outcome = await refresher(source, sink).refresh("CN")

    assert isinstance(outcome, FlagFailed)
    assert outcome.kind is ErrorKind.SINK
    assert "the catalog will not show" in caplog.text


async def test_failure_that_cannot_be_recorded_is_returned_and_logged(
    source: FakeSource, sink: FileSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run's report has it, although the catalog cannot."""
    shutil.rmtree(tmp_path / "records")
    missed = FlagFailed("CN", ErrorKind.TIMEOUT, "slow", "", 1, FetchStatistics())

    assert await refresher(source, sink).record_failure(missed) == missed
    assert "CN: the catalog will not show that it failed" in caplog.text


async def test_record_is_read_back_however_long_the_reason_is(source: FakeSource, sink: FileSink) -> None:
    """A reason that is longer than a record may have is cut, so the country keeps its good files in the catalog."""
    await refresher(source, sink).refresh("CN")

    missed = FlagFailed("CN", ErrorKind.UNEXPECTED, "x" * (MAX_REASON_CHARS + 1), "", 1, FetchStatistics())
    await refresher(source, sink).record_failure(missed)

    known = (await sink.records())["CN"]
    assert known.image is not None
    assert known.last_failure == LastFailure(ErrorKind.UNEXPECTED, "x" * MAX_REASON_CHARS)


async def test_standard_completes_what_the_source_leaves_out(source: FakeSource, sink: FileSink) -> None:
    """The stored metadata has both."""
    outcome = await refresher(source, sink).refresh("CN")

    assert isinstance(outcome, FlagSaved)
    assert outcome.record.country == iso_country("CN")
    assert outcome.record.metadata is not None
    assert outcome.record.metadata.validators == Validators(f'"0-{zlib.crc32(document("China"))}"')


@pytest.mark.parametrize(
    ("validators", "age_days", "are_trusted"),
    [
        (Validators('"1"', "yesterday"), None, True),
        (Validators('W/"1"'), None, False),
        (Validators("", "yesterday"), None, False),
        (Validators("", "yesterday"), 29, True),
        (Validators("", "yesterday"), 31, False),
        (Validators("", "yesterday"), -1, False),
        (Validators('W/"1"', "yesterday"), 29, True),
    ],
)
def test_what_does_not_promise_equal_bytes_is_trusted_for_a_while(
    validators: Validators, age_days: float | None, *, are_trusted: bool
) -> None:
    """A date or a weak ETag: not without the time of its answer, not for too long, and not from the future."""
    if age_days is not None:
        validators = replace(validators, received_at=datetime.now(UTC) - timedelta(days=age_days))

    assert trusted(validators, for_days=30) == (validators if are_trusted else Validators())


async def test_a_refetch_asks_for_everything_in_full(source: FakeSource, sink: FileSink) -> None:
    """Unchanged files are found to be so by their bytes."""
    await refresher(source, sink).refresh("CN")

    refetched = await refresher(source, sink, refetch=True).refresh("CN")

    assert isinstance(refetched, FlagUnchanged)
    assert source.n_unchanged == 0


async def test_a_date_is_stored_with_the_time_of_its_answer(source: FakeSource, sink: FileSink) -> None:
    """The stored date is sent with the next request."""
    seen: list[Validators] = []

    async def fetch(
        url: str,
        *,
        code: str,  # noqa: ARG001
        known: Validators,
        counter: FetchCounter,  # noqa: ARG001
        codes: set[str] | None = None,  # noqa: ARG001
    ) -> Answer:
        seen.append(known)
        content = source.files[url.removeprefix("http://fake/")]
        assert isinstance(content, bytes)
        return Answer(None, known) if known.last_modified else Answer(content, Validators("", "yesterday"))

    source.fetch = fetch  # type: ignore[method-assign]

    await refresher(source, sink).refresh("CN")
    again = await refresher(source, sink).refresh("CN")

    assert isinstance(again, FlagUnchanged)
    assert [known.last_modified for known in seen] == ["", "", "yesterday", "yesterday"]
