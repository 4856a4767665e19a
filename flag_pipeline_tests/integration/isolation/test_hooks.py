"""Hooks of `run_partitions` in runs of Dagster, and launches that Dagster itself does not check."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.isolation import (
    Absent,
    Hooks,
    Missed,
    Verdict,
    interrupted_partitions,
    per_partition,
    plan_partitions,
    run_partitions,
)
from flag_pipeline_tests.integration.isolation.runs import (
    LETTERS,
    SINGLE_RUN,
    colours,
    events,
    failure_text,
    ranged,
    retrying,
)


def letters_asset(hooks: Hooks, broken: set[str], asked: list[str]) -> dg.AssetsDefinition:
    """An asset whose broken partitions fail, whose partition d is absent, and that notes what it is asked for."""

    @dg.multi_asset(specs=[dg.AssetSpec("letters")], partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    def letters(context: dg.AssetExecutionContext) -> Iterator[Any]:
        async def letter(key: str) -> Absent | None:
            asked.append(key)
            if key in broken:
                raise ConnectionError("down")
            return Absent("closed") if key == "d" else None

        yield from run_partitions(context, letter, hooks=hooks)

    return letters


def test_a_problem_fails_a_run_without_failed_partitions(instance: dg.DagsterInstance) -> None:
    """The absent partition stays absent, and the failure says what is wrong."""

    async def judge(absent: Sequence[Missed], n_delivered: int) -> Verdict:
        return Verdict(absent, f"only {n_delivered} of {n_delivered + len(absent)} are there")

    letters = letters_asset(Hooks(judge=judge), set(), [])

    result = dg.materialize([letters], instance=instance, tags=ranged("c", "d"), raise_on_error=False)

    assert failure_text(result) == "only 1 of 2 are there"
    assert len(events(instance, "letters", "d", dg.DagsterEventType.ASSET_OBSERVATION)) == 1


def test_a_reexecution_that_is_refused_turns_nothing_red(instance: dg.DagsterInstance) -> None:
    """`prepare` stops it before the first partition: what was delivered before stays green."""
    asked: list[str] = []
    prepared: list[Sequence[str]] = []

    async def refuse(keys: Sequence[str]) -> None:
        prepared.append(keys)
        raise dg.Failure("not today", allow_retries=False)

    letters = letters_asset(Hooks(), {"b"}, asked)
    first = dg.materialize([letters], instance=instance, tags=ranged("a", "c"), raise_on_error=False)
    asked.clear()
    refused = letters_asset(Hooks(prepare=refuse), {"b"}, asked)

    second = dg.materialize([refused], instance=instance, tags=ranged("a", "c") | retrying(first), raise_on_error=False)

    assert failure_text(second) == "not today"
    assert (prepared, asked) == ([["b"]], [])
    assert colours(instance, letters) == {"letters": (["a", "c"], ["b"])}


def test_a_reexecution_runs_what_is_no_longer_there(instance: dg.DagsterInstance) -> None:
    """The data of a was lost since the run before delivered it."""
    asked: list[str] = []
    letters = letters_asset(Hooks(), {"b"}, asked)
    first = dg.materialize([letters], instance=instance, tags=ranged("a", "c"), raise_on_error=False)
    asked.clear()
    again = letters_asset(Hooks(still_there=lambda keys: {*keys} - {"a"}), set(), asked)

    assert dg.materialize([again], instance=instance, tags=ranged("a", "c") | retrying(first)).success

    assert sorted(asked) == ["a", "b"]


@pytest.mark.parametrize(
    ("partitions_def", "tags", "message"),
    [
        (LETTERS, ranged("c", "a"), "the range from c to a is reversed: choose a to c"),
        (LETTERS, {"dagster/partition": "z"}, "there is no partition 'z': partitions are a, b, c and 2 more"),
        (
            dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-08"),
            ranged("2026-01-05", "2026-01-02"),
            "the range from 2026-01-05 to 2026-01-02 is reversed: choose 2026-01-02 to 2026-01-05",
        ),
    ],
)
def test_a_range_that_cannot_be_fails_the_run(
    instance: dg.DagsterInstance, partitions_def: dg.PartitionsDefinition[Any], tags: dict[str, str], message: str
) -> None:
    """Without the check, the run would succeed without having done anything."""

    @dg.asset(partitions_def=partitions_def, backfill_policy=SINGLE_RUN)
    @per_partition
    def isolated(partition_key: str) -> None:
        pass

    result = dg.materialize([isolated], instance=instance, tags=tags, raise_on_error=False)

    assert failure_text(result) == message
    assert events(instance, "isolated") == []


def test_partitions_of_a_run_that_never_came_to_them_are_known(instance: dg.DagsterInstance) -> None:
    """A list that is planned at the launch counts once the run has ended, for partitions that were recorded before."""
    letters = letters_asset(Hooks(), set(), [])
    dg.materialize([letters], instance=instance, tags=ranged("a", "b"))
    job = dg.Definitions([letters]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    key = dg.AssetKey("letters")
    for _ in range(2):  # what is planned already is not planned again
        plan_partitions(instance, run, "letters", [key], ["b", "c"])
    running = interrupted_partitions(instance, key, "abcde")
    instance.report_run_canceled(run)

    assert running == {}
    assert interrupted_partitions(instance, key, "abcde") == {"b": run.run_id}
    assert interrupted_partitions(instance, key, "abcde", lambda ended: ended.run_id == run.run_id) == {}
    planned = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    assert len([entry for entry in planned if entry.dagster_event and entry.dagster_event.partition]) == 2
