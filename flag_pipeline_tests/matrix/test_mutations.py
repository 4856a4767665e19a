"""Each fault of the issue, put back, is found by the checker: a check that the checker can fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.client_proto import ResponseHandler

from flag_pipeline import settings
from flag_pipeline.cli import app, retrying
from flag_pipeline.core import absence, refresh
from flag_pipeline.defs import flags, resources, statuses
from flag_pipeline.fetching import desync
from flag_pipeline.isolation import requested
from flag_pipeline_tests.matrix.axes import Answers, Case, End, Home, Layout, Origin, Partitions, Stored, Way
from flag_pipeline_tests.matrix.trying import findings_of

pytestmark = pytest.mark.timeout(300)

Patch = Callable[[pytest.MonkeyPatch, Path], None]


def _nothing(*_: Any, **__: Any) -> None:
    return None


async def _nothing_to_wait_for(*_: Any, **__: Any) -> None:
    return None


def _connections_are_not_checked(patched: pytest.MonkeyPatch, _folder: Path) -> None:
    patched.setattr(desync.CheckedProtocol, "data_received", ResponseHandler.data_received)
    for name in ("doubt", "doubt_once"):
        patched.setattr(desync.CheckedConnector, name, _nothing)


def _fields_fall_back_to_the_class(patched: pytest.MonkeyPatch, folder: Path) -> None:
    def from_settings(cls: Any, given: settings.Settings) -> Any:
        return cls(**given.model_dump(include={*cls.model_fields}))

    patched.setattr(resources.BoundToSettings, "from_settings", classmethod(from_settings))
    # The store of the class is below it.
    patched.setattr(settings, "project_root", lambda: folder)


def _sources_are_not_compared(patched: pytest.MonkeyPatch, _folder: Path) -> None:
    patched.setattr(flags, "require_one_source", _nothing_to_wait_for)


def _retry_asks_the_default_source(patched: pytest.MonkeyPatch, folder: Path) -> None:
    _sources_are_not_compared(patched, folder)
    patched.setattr(retrying, "_latest_source", lambda _instance: "")
    patched.setattr(retrying, "_latest_sources", lambda _instance, _statuses: {})


def _absence_is_believed(patched: pytest.MonkeyPatch, _folder: Path) -> None:
    async def judge(_judge: object, absent: Any, **_: Any) -> absence.Verdict:
        return absence.Verdict(absent)

    patched.setattr(absence.AbsenceJudge, "judge", judge)


def _dates_are_trusted_for_ever(patched: pytest.MonkeyPatch, _folder: Path) -> None:
    patched.setattr(refresh, "trusted", lambda validators, **_: validators)


def _interrupted_countries_are_forgotten(patched: pytest.MonkeyPatch, _folder: Path) -> None:
    patched.setattr(statuses, "interrupted_partitions", lambda *_: {})


def _the_store_is_not_listed(patched: pytest.MonkeyPatch, _folder: Path) -> None:
    patched.setattr(app, "_list_store", _nothing)


def _ranges_are_not_checked(patched: pytest.MonkeyPatch, _folder: Path) -> None:
    patched.setattr(requested, "_launched_keys", lambda step: list(step.context.partition_keys))


def _case(way: Way, **other: Any) -> Case:
    usual = {
        "origin": Origin.ENVIRONMENT,
        "layout": Layout.BOOK,
        "answers": Answers.GOOD,
        "partitions": Partitions.RANGE,
        "stored": Stored.FULL,
        "home": Home.OURS,
        "end": End.COMPLETE,
    }
    return Case(way=way, **{**usual, **other})


# All names are in one document there, so that every later answer is a flag.
SURPLUS = _case(Way.COMMAND, layout=Layout.FLAGCDN, answers=Answers.SURPLUS, stored=Stored.FRESH)
ONE_FIELD = _case(Way.EXECUTE, origin=Origin.ONE_FIELD, stored=Stored.FRESH)
OTHER_SOURCE = _case(Way.EXECUTE, stored=Stored.OTHER)
RETRIED = _case(Way.COMMAND, origin=Origin.OPTIONS, end=End.SOME_FAIL)
LOST = _case(Way.COMMAND, answers=Answers.LOST)
DATES = _case(Way.COMMAND, answers=Answers.DATES)
INTERRUPTED = _case(Way.COMMAND, end=End.INTERRUPTED)
EMPTIED = _case(Way.COMMAND, stored=Stored.EMPTIED)
REVERSED = _case(Way.EXECUTE, partitions=Partitions.REVERSED, stored=Stored.FRESH)

FAULTS: list[Any] = [
    pytest.param(SURPLUS, _connections_are_not_checked, "neither the source's nor the last good one", id="A1"),
    pytest.param(ONE_FIELD, _fields_fall_back_to_the_class, "the store does not have the flag", id="A2"),
    pytest.param(OTHER_SOURCE, _sources_are_not_compared, "a refused launch asked for", id="A3"),
    pytest.param(RETRIED, _retry_asks_the_default_source, "is not right after retry", id="A3-retry"),
    pytest.param(LOST, _absence_is_believed, "the exit code is 0", id="A4"),
    pytest.param(DATES, _dates_are_trusted_for_ever, "the store does not have the flag", id="A5"),
    pytest.param(INTERRUPTED, _interrupted_countries_are_forgotten, "is not right after retry", id="A6"),
    pytest.param(EMPTIED, _the_store_is_not_listed, "status has lacking", id="A7"),
    pytest.param(REVERSED, _ranges_are_not_checked, "the runs ended as ['SUCCESS']", id="A8"),
]
QUICK = {"A2", "A7", "A8"}


@pytest.mark.parametrize(
    ("case", "put_back", "finding"),
    [
        fault if fault.id in QUICK else pytest.param(*fault.values, marks=pytest.mark.matrix, id=fault.id)
        for fault in FAULTS
    ],
)
def test_a_fault_that_is_put_back_is_found(
    case: Case, put_back: Patch, finding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checker says what is wrong after the launch."""
    put_back(monkeypatch, tmp_path / "elsewhere")

    findings = findings_of(case, tmp_path)

    assert finding in "\n".join(findings)


@pytest.mark.matrix
@pytest.mark.parametrize("case", [fault.values[0] for fault in FAULTS], ids=[fault.id for fault in FAULTS])
def test_without_the_fault_nothing_is_found(case: Case, tmp_path: Path) -> None:
    """The same launch with the program as it is has nothing wrong."""
    findings = findings_of(case, tmp_path)

    assert not findings, "\n".join(findings)
