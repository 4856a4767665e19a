"""What `status` says of the flags in the store."""

import time

import pytest

from flag_pipeline.cli.rendering import print_statuses
from flag_pipeline.cli.rendering_json import stored_flags_json
from flag_pipeline.cli.reports import StoredFlags
from flag_pipeline.settings import load_settings

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400


@pytest.mark.parametrize(
    ("ages_s", "said"),
    [
        ({"AD": 1.5 * HOUR_S}, "1 flag, fetched 1 h ago"),
        ({"AD": 30.5 * MINUTE_S, "FR": 3.5 * DAY_S}, "2 flags, fetched 30 min to 3 days ago; the oldest is FR"),
        ({"AD": -5}, "1 flag, fetched 0 s ago"),
    ],
)
def test_status_says_how_old_the_flags_are(
    capsys: pytest.CaptureFixture[str], ages_s: dict[str, float], said: str
) -> None:
    """The youngest and the oldest flag are named by their age, and the oldest by its country too."""
    now = time.time()
    flags = StoredFlags({code: now - age_s for code, age_s in ages_s.items()}, {"http://a.example": len(ages_s)})

    print_statuses({}, flags, load_settings())

    assert capsys.readouterr().out.splitlines()[-2:] == [said, f"They came from http://a.example ({len(ages_s)})"]


def test_programs_get_the_moments() -> None:
    """`--json` has them in UTC, and nothing without a flag."""
    flags = StoredFlags({"AD": 0.0, "FR": float(DAY_S)}, {"embedded": 2})

    assert stored_flags_json(flags) == {
        "stored": {
            "n_flags": 2,
            "sources": {"embedded": 2},
            "oldest_fetch": "1970-01-01T00:00:00+00:00",
            "newest_fetch": "1970-01-02T00:00:00+00:00",
        }
    }
    assert stored_flags_json(StoredFlags()) == {}
