"""Which failed countries are fetched again, and when."""

import pytest

from flag_pipeline.defs.healing import HealingPolicy, plan_healing
from flag_pipeline.defs.ledger import RecordedMiss
from flag_pipeline.errors import ErrorKind

POLICY = HealingPolicy(attempts=3, delay_s=60)


def failed_at(at: float, kind: ErrorKind = ErrorKind.TIMEOUT) -> RecordedMiss:
    """A failure at a time."""
    return RecordedMiss(kind, "it failed", storage_id=int(at), at=at)


def test_nothing_failed() -> None:
    """Without failures there is nothing to do, and earlier attempts are forgotten."""
    plan = plan_healing({}, {"FR": 2}, POLICY, now=1000)

    assert (plan.codes, plan.attempts, plan.explanation) == ([], {}, "No country has failed.")


def test_failures_of_one_run_are_healed_together() -> None:
    """One country is due, another failed half a minute later: both go."""
    plan = plan_healing({"FR": failed_at(1000), "BR": failed_at(1030)}, {}, POLICY, now=1060)

    assert plan.codes == ["BR", "FR"]
    assert plan.attempts == {"BR": 1, "FR": 1}


@pytest.mark.parametrize(("attempts", "delay_s"), [(0, 60), (1, 120), (2, 240)])
def test_delay_doubles_with_each_attempt(attempts: int, delay_s: int) -> None:
    """A country waits 60, 120, 240 seconds from its latest failure."""
    failed = {"FR": failed_at(1000)}

    assert plan_healing(failed, {"FR": attempts}, POLICY, now=1000 + delay_s - 1).codes == []
    assert plan_healing(failed, {"FR": attempts}, POLICY, now=1000 + delay_s).codes == ["FR"]


def test_gives_up_after_the_last_attempt_and_says_so() -> None:
    """After three attempts FR is left alone, named in the explanation."""
    plan = plan_healing({"FR": failed_at(0)}, {"FR": 3}, POLICY, now=1e9)

    assert plan.codes == []
    assert plan.attempts == {"FR": 3}
    assert "FR" in plan.explanation
    assert "by hand" in plan.explanation


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if not kind.is_transient])
def test_lasting_failures_are_left_alone_and_named(kind: ErrorKind) -> None:
    """What does not pass by itself is not asked for again."""
    plan = plan_healing({"FR": failed_at(0, kind)}, {}, POLICY, now=1e9)

    assert plan.codes == []
    assert "FR" in plan.explanation


def test_the_same_attempt_has_the_same_key() -> None:
    """The key names failures and attempts, so that a lost cursor does not make the sensor start one twice."""
    first = plan_healing({"FR": failed_at(1000), "BR": failed_at(1001)}, {"FR": 1}, POLICY, now=2000)
    again = plan_healing({"BR": failed_at(1001), "FR": failed_at(1000)}, {"FR": 1}, POLICY, now=3000)
    later = plan_healing({"BR": failed_at(1001), "FR": failed_at(1500)}, {"FR": 1}, POLICY, now=3000)

    assert first.key == again.key != later.key


def test_the_next_attempt_at_the_same_failures_has_another_key() -> None:
    """The run before it may have ended without recording anything."""
    failed = {"FR": failed_at(1000), "BR": failed_at(1001)}
    first = plan_healing(failed, {}, POLICY, now=2000)
    second = plan_healing(failed, first.attempts, POLICY, now=3000)

    assert first.codes == second.codes
    assert first.key != second.key
