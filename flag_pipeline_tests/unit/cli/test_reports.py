"""What the command line counts of a run's events, and what it passes on of its warnings."""

import logging

import dagster as dg
import pytest

from flag_pipeline.cli.rendering_json import SHOWN_WARNINGS, warnings_of
from flag_pipeline.cli.reports import RunReport
from flag_pipeline.cli.run_warnings import collecting_warnings
from flag_pipeline.isolation import Outcome, RecordedOutcome

METADATA, IMAGE = dg.AssetKey("country_metadata"), dg.AssetKey("flag_image")


def event(code: str, outcome: Outcome, key: dg.AssetKey) -> RecordedOutcome:
    """An event that cost two requests, one of them a retry, and ten bytes."""
    costs = {"requests": 2, "attempts": 2, "body_bytes": 10}
    return RecordedOutcome(key, code, outcome, "contract", "why", is_transient=True, metadata=costs, tags={})


def test_country_that_was_recorded_twice_counts_once() -> None:
    """The latest outcome counts, whatever the first was, and the costs of both fetches add up."""
    report, saved, failed = RunReport(requested=2), Outcome.SUCCEEDED, Outcome.FAILED
    is_first = [
        report.add(event(code, outcome, key))
        for outcomes in ((("CN", saved), ("FR", failed)), (("CN", failed), ("FR", saved)))
        for code, outcome in outcomes
        for key in (METADATA, IMAGE)
    ]

    assert is_first == [True, False, True, False, False, False, False, False]
    assert (report.saved, report.unchanged, report.not_found) == (1, 0, [])
    assert report.failed == {"CN": {"kind": "contract", "reason": "why"}}
    assert (report.requests, report.retries, report.body_bytes) == (8, 4, 40)


def test_warnings_of_the_package_reach_the_report(capfd: pytest.CaptureFixture[str]) -> None:
    """They are gathered during the run, while standard error is not shown; those of libraries are not."""
    messages: list[str] = []

    with collecting_warnings(messages):
        logging.getLogger("flag_pipeline.fetching.open_files").warning("this process may open %d files only", 40)
        logging.getLogger("flag_pipeline.fetching.client").error("the source cannot be reached")
        logging.getLogger("asyncio").warning("slow")
    logging.getLogger("flag_pipeline.core").warning("too late")

    assert messages == ["this process may open 40 files only"]
    assert "files only" not in capfd.readouterr().err


def test_many_warnings_are_cut_short() -> None:
    """A store that refuses everything warns of each country: the first lines and a number say enough."""
    report = RunReport(warnings=["one\ntwo", *["twice"] * 2, *map(str, range(SHOWN_WARNINGS))])

    told = warnings_of(report)

    assert told[:2] == ["Warning: one\\ntwo", "Warning: twice"]
    assert told[SHOWN_WARNINGS:] == ["Warning: and 2 more"]
