"""Which failed countries are fetched again, and which are left alone."""

import pytest

from flag_pipeline.defs.healing import choose, is_transient
from flag_pipeline.errors import ErrorKind
from flag_pipeline.isolation import HealingPolicy, LastMiss, Outcome, plan_healing


def failed(kind: str, **metadata: str) -> LastMiss:
    """A failure as a version before the isolation recorded it: it does not say whether it may pass."""
    return LastMiss(Outcome.FAILED, kind, "it failed", is_transient=True, storage_id=1, at=0, metadata=metadata)


@pytest.mark.parametrize("kind", [*ErrorKind, "ValueError"])
def test_lasting_failures_are_left_alone_and_named(kind: str) -> None:
    """The kind of an error decides whether the country is asked for again; an unknown kind is a bug."""
    may_pass = kind in [each for each in ErrorKind if each.is_transient]

    plan = plan_healing(
        {"FR": failed(kind)}, {}, HealingPolicy(3, 60), now=1e9, may_pass=lambda miss: is_transient(miss.kind)
    )

    assert plan.keys == (["FR"] if may_pass else [])
    assert ("FR" in plan.explanation) is not may_pass


def test_failures_of_another_source_or_store_are_left_alone_with_a_command() -> None:
    """An event that names neither source nor store counts as this deployment's."""
    failures = {
        "AD": failed("timeout"),
        "AE": failed("timeout", source="embedded", store="here"),
        "AF": failed("timeout", source="http://other", store="here"),
        "AG": failed("timeout", source="embedded", store="there"),
    }

    ours, text = choose(failures, source="embedded", store="here")

    assert list(ours) == ["AD", "AE"]
    assert "flag-pipeline run AF --source http://other;" in text
    assert text.endswith("flag-pipeline run AG --source embedded --store there")
