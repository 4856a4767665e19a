"""Which failures are run again, and when."""

import pytest

from flag_pipeline.isolation import HealingPolicy, LastMiss, Outcome, plan_healing

POLICY = HealingPolicy(max_attempts=2, delay_s=100)


def failed(*, at: float = 0, is_transient: bool = True, storage_id: int = 1) -> LastMiss:
    """A failure."""
    return LastMiss(Outcome.FAILED, "kind", "reason", is_transient, storage_id, at)


def test_nothing_failed() -> None:
    """The explanation says so."""
    plan = plan_healing({}, {"gone": 2}, POLICY, now=0)

    assert (plan.keys, plan.attempts, plan.explanation) == ([], {}, "No partition has failed.")


@pytest.mark.parametrize(("done", "due_at"), [(0, 100), (1, 200)])
def test_the_delay_doubles(done: int, due_at: float) -> None:
    """It counts from the latest failure."""
    failures, attempts = {"a": failed()}, {"a": done}

    assert plan_healing(failures, attempts, POLICY, now=due_at - 1).keys == []
    plan = plan_healing(failures, attempts, POLICY, now=due_at)
    assert (plan.keys, plan.attempts) == (["a"], {"a": done + 1})


def test_what_is_nearly_due_goes_along() -> None:
    """One run heals the failures of one run."""
    failures = {"a": failed(at=0), "b": failed(at=90), "c": failed(at=201)}

    plan = plan_healing(failures, {}, POLICY, now=100)

    assert plan.keys == ["a", "b"]
    assert plan.explanation == "Waiting before the next attempt: c."


def test_what_is_left_alone_is_explained() -> None:
    """Lasting failures and those that were tried often enough."""
    failures = {"a": failed(is_transient=False), "b": failed()} | {f"z{n:02}": failed(at=1e9) for n in range(25)}

    plan = plan_healing(failures, {"b": 2}, POLICY, now=1000)

    assert plan.keys == []
    assert "and 5 more" in plan.explanation
    assert "Given up after the last attempt, run them by hand: b." in plan.explanation
    assert "does not pass by itself, see their observations: a." in plan.explanation


def test_an_attempt_has_a_run_key_of_its_own() -> None:
    """The same attempt has the same key, and the next one or another failure another key."""
    keys = {
        plan_healing({"a": failed(storage_id=number)}, {"a": done}, POLICY, now=1000).run_key
        for number, done in ((1, 0), (1, 0), (1, 1), (2, 0))
    }

    assert len(keys) == 3
