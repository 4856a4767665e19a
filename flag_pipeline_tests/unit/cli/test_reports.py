"""What the command line counts of a run's events."""

import dagster as dg

from flag_pipeline.cli.reports import RunReport
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
