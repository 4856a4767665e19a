"""Whether a source is believed that lacks countries."""

import asyncio
import json
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

import pytest

from flag_pipeline.core.absence import AbsenceJudge, Verdict
from flag_pipeline.core.models import FlagNotFound
from flag_pipeline.core.refresh import Refresher
from flag_pipeline.core.sink import FileSink, StoredCountry
from flag_pipeline.errors import ErrorKind, FlagNotFoundError, SinkError
from flag_pipeline.fetching.models import FetchStatistics
from flag_pipeline_tests.fakes import FakeSource
from flag_pipeline_tests.samples import flag, gif, record

US = gif("US")
CODES = ["AD", "AE", "AF", "AG", "AI"]


@pytest.fixture
def source() -> FakeSource:
    """A source that has the United States."""
    document = json.dumps({"country": "United States", "iso_cc": "US"}).encode()
    return FakeSource({"us/us.gif": US, "us/metadata.json": document})


def lacking(source: FakeSource, *codes: str) -> FakeSource:
    """Return the source, which has none of *codes*."""
    for code in codes:
        error = FlagNotFoundError("404", code=code, url=f"http://fake/{code.lower()}/metadata.json")
        source.files[f"{code.lower()}/metadata.json"] = source.files[f"{code.lower()}/{code.lower()}.gif"] = error
    return source


async def judge(
    source: FakeSource, sink: FileSink, *absent: str, n_found: int, known: Collection[str] = (), wanted: str = ""
) -> Verdict:
    """Judge a run in which *absent* were not found; *wanted* are the assets, all of them if empty."""

    async def known_absent(_codes: Collection[str]) -> Collection[str]:
        return known

    assets = {"metadata": wanted != "image", "image": wanted != "metadata"}
    refresher = Refresher(source, sink, **assets)  # type: ignore[arg-type]
    misses = [FlagNotFound(code, "404", f"http://fake/{code}", 1, FetchStatistics()) for code in absent]
    return await AbsenceJudge(refresher, known_absent, 0.05).judge(misses, codes=absent, n_found=n_found)


async def test_known_absences_are_believed(source: FakeSource, sink: FileSink) -> None:
    """Nothing is asked of the source."""
    verdict = await judge(source, sink, "AD", "AE", n_found=0, known=["AD", "AE"])

    assert [outcome.kind for outcome in verdict.outcomes] == [ErrorKind.NOT_FOUND] * 2
    assert source.asked_for == []


@pytest.mark.parametrize("wanted", ["", "image", "metadata"])
async def test_a_source_that_has_others_is_believed(source: FakeSource, sink: FileSink, wanted: str) -> None:
    """It is asked for what the run wants of a country that every source has."""
    lacking(source, "AD", "AE")

    one, two = (
        await judge(source, sink, "AD", n_found=0, wanted=wanted),
        await judge(source, sink, "AD", "AE", n_found=0, wanted=wanted),
    )

    assert [outcome.kind for outcome in (*one.outcomes, *two.outcomes)] == [ErrorKind.NOT_FOUND] * 3
    assert one.problem == ""
    assert two.problem.endswith("does not have any of the 2 countries that the run asked for; try http://fake/AD")
    assert len(source.asked_for) == (4 if wanted == "" else 2)


async def test_a_source_that_has_nothing_is_not_believed(source: FakeSource, sink: FileSink) -> None:
    """The well-known countries are 404 too."""
    verdict = await judge(lacking(source, "AD", "US", "CN", "FR"), sink, "AD", n_found=0)

    (outcome,) = verdict.outcomes
    assert outcome.kind is ErrorKind.UNAVAILABLE
    assert outcome.reason == "the source does not have the country that the run asked for; try http://fake/AD"


async def test_a_source_that_hangs_is_not_believed(
    source: FakeSource, sink: FileSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is given up after its time."""
    monkeypatch.setattr("flag_pipeline.core.absence.PROBE_TIMEOUT_S", 0.01)

    async def hang(*_given: object, **_named: object) -> NoReturn:
        await asyncio.Future()
        raise AssertionError

    source.fetch = hang  # type: ignore[method-assign]

    verdict = await judge(lacking(source, "AD"), sink, "AD", n_found=0)

    assert [outcome.kind for outcome in verdict.outcomes] == [ErrorKind.UNAVAILABLE]


@pytest.mark.parametrize("n_lost", [3, 4])
async def test_more_than_three_lost_flags_are_not_believed(source: FakeSource, sink: FileSink, n_lost: int) -> None:
    """The source lacks some of five stored flags; the fifth absent country never had a flag."""
    for code in CODES:
        await sink.save(record(code), image=flag())
    lost = CODES[:n_lost]

    verdict = await judge(lacking(source, *lost, "ZW"), sink, *lost, "ZW", n_found=1)

    doubted = {outcome.code for outcome in verdict.outcomes if outcome.kind is ErrorKind.UNAVAILABLE}
    assert doubted == (set(lost) if n_lost > 3 else set())


async def test_lost_flags_below_the_share_are_believed(source: FakeSource, sink: FileSink, tmp_path: Path) -> None:
    """Four of a hundred are less than five percent."""
    for code in CODES:
        await sink.save(record(code), image=flag())
    for number in range(95):
        (tmp_path / f"flags/{number:03}-x.gif").touch()
        (tmp_path / f"records/{number:03}.json").touch()

    verdict = await judge(lacking(source, *CODES[:4]), sink, *CODES[:4], n_found=1)

    assert {outcome.kind for outcome in verdict.outcomes} == {ErrorKind.NOT_FOUND}


async def test_a_record_that_the_store_refuses_does_not_affect_the_others(
    source: FakeSource, sink: FileSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four flags besides that of AD are lost, and the verdict on them stands."""
    for code in CODES:
        await sink.save(record(code), image=flag())
    load = sink.load

    async def load_all_but_ad(code: str) -> StoredCountry:
        if code == "AD":
            raise SinkError("the bucket does not answer", path="records/AD.json")
        return await load(code)

    monkeypatch.setattr(sink, "load", load_all_but_ad)

    verdict = await judge(lacking(source, *CODES), sink, *CODES, n_found=1)

    kinds = {outcome.code: outcome.kind for outcome in verdict.outcomes}
    assert kinds == {**dict.fromkeys(CODES, ErrorKind.UNAVAILABLE), "AD": ErrorKind.NOT_FOUND}
