"""A re-executed run asks only for what failed, over generations, and changes nothing for what depends on the rest."""

import signal
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.isolation import EventTags, Outcome, PartitionsConfig, per_partition, read_statuses
from flag_pipeline_tests.integration.isolation.runs import (
    LETTERS,
    SINGLE_RUN,
    colours,
    events,
    listed,
    ranged,
    retrying,
    tags_of,
)


def _nothing(key: str) -> None:
    """Do nothing."""


class Source:
    """Partitions that fail as the test says, and a list of those that were asked for."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self._asked: list[str] = []
        self.when_asked = _nothing

    def ask(self, key: str) -> None:
        """Note the question, and fail if the partition is broken."""
        self._asked.append(key)
        self.when_asked(key)
        if key in self.broken:
            raise ConnectionError("down")

    @property
    def asked(self) -> list[str]:
        """What was asked for since the last look."""
        asked, self._asked = sorted(self._asked), []
        return asked


@pytest.fixture
def source() -> Source:
    """A source in which all is well."""
    return Source()


def isolated_asset(source: Source, **options: Any) -> dg.AssetsDefinition:
    """An isolated asset of five partitions."""

    @dg.asset(name="isolated", partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    @per_partition(**options)
    async def isolated(partition_key: str, config: PartitionsConfig) -> dg.MaterializeResult[None]:
        source.ask(partition_key)
        return dg.MaterializeResult(metadata={"key": partition_key}, data_version=dg.DataVersion("1"))

    return isolated


def run(
    instance: dg.DagsterInstance, asset: dg.AssetsDefinition, tags: dict[str, str], **options: Any
) -> dg.ExecuteInProcessResult:
    """Materialize the asset, whether or not it fails."""
    return dg.materialize([asset], instance=instance, tags=tags, raise_on_error=False, **options)


def test_a_reexecution_asks_only_for_what_failed(instance: dg.DagsterInstance, source: Source) -> None:
    """Two generations: each asks for what the one before left, and the colours are right after each."""
    asset = isolated_asset(source)
    source.broken = {"b", "d"}
    first = run(instance, asset, ranged("a", "e"))
    assert (source.asked, colours(instance, asset)["isolated"]) == (list("abcde"), (list("ace"), list("bd")))

    source.broken = {"d"}
    second = run(instance, asset, ranged("a", "e") | retrying(first))
    assert (source.asked, colours(instance, asset)["isolated"]) == (list("bd"), (list("abce"), ["d"]))

    source.broken = set()
    third = run(instance, asset, ranged("a", "e") | retrying(second))
    assert (source.asked, colours(instance, asset)["isolated"]) == (["d"], (list("abcde"), []))
    assert (second.success, third.success) == (False, True)


def test_a_list_is_reexecuted_likewise(instance: dg.DagsterInstance, source: Source) -> None:
    """The configuration lists the same partitions again."""
    asset = isolated_asset(source)
    source.broken = {"c"}
    config = listed(asset, "a", "c", "e")
    first = run(instance, asset, {}, run_config=config)
    assert source.asked == list("ace")

    source.broken = set()
    second = run(instance, asset, retrying(first), run_config=config)

    assert second.success
    assert source.asked == ["c"]
    assert colours(instance, asset)["isolated"] == (list("ace"), [])


def test_a_reexecution_that_succeeds_records_nothing_again(instance: dg.DagsterInstance, source: Source) -> None:
    """What was recorded before has one materialization, so that nothing downstream of it runs again."""
    asset = isolated_asset(source)
    source.broken = {"b"}
    first = run(instance, asset, ranged("a", "e"))

    source.broken = set()
    run(instance, asset, ranged("a", "e") | retrying(first))

    assert {key: len(events(instance, "isolated", key)) for key in "abcde"} == dict.fromkeys("abcde", 1)


def test_an_eager_asset_runs_only_for_what_is_new(instance: dg.DagsterInstance, source: Source) -> None:
    """After the re-execution, Dagster's automation asks for the partition that had failed, and for no other."""
    asset = isolated_asset(source)

    @dg.asset(partitions_def=LETTERS, deps=[asset], automation_condition=dg.AutomationCondition.eager())
    def follower() -> None:
        pass

    defs = dg.Definitions([asset, follower])

    def requested(cursor: Any) -> tuple[Any, list[str]]:
        result = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
        return result.cursor, sorted(filter(None, result.get_requested_partitions(follower.key)))

    cursor, _ = requested(None)
    source.broken = {"b"}
    first = run(instance, asset, ranged("a", "e"))
    cursor, after_first = requested(cursor)
    for key in after_first:
        dg.materialize([asset, follower], selection=[follower], instance=instance, partition_key=key)
    cursor, _ = requested(cursor)
    source.broken = set()
    run(instance, asset, ranged("a", "e") | retrying(first))
    _, after_second = requested(cursor)

    assert (after_first, after_second) == (list("acde"), ["b"])


def test_what_is_carried_over_keeps_its_content_and_time(instance: dg.DagsterInstance, source: Source) -> None:
    """Only the outcome says that it was copied; over two generations the time stays that of the original."""
    asset = isolated_asset(source)
    source.broken = {"b"}
    first = run(instance, asset, ranged("a", "b"))
    original = events(instance, "isolated", "a")[0]
    original_tags = tags_of(instance, "isolated", "a")

    second = run(instance, asset, ranged("a", "b") | retrying(first))
    run(instance, asset, ranged("a", "b") | retrying(second))

    copy = events(instance, "isolated", "a")[0].asset_materialization
    assert copy is not None
    assert len(events(instance, "isolated", "a")) == 3
    assert copy.metadata["key"].value == "a"
    tags = dict(copy.tags or {})
    assert float(tags.pop("isolation/recorded_at")) == original.timestamp
    assert tags == {**original_tags, "isolation/outcome": "carried_over"}
    assert read_statuses(instance, asset.key, "ab").materialized == ["a"]


def test_a_killed_reexecution_does_not_forget_the_run_before(instance: dg.DagsterInstance, source: Source) -> None:
    """It carried nothing over, because that is done at its end: the next one looks at both."""
    asset = isolated_asset(source)
    source.broken = {"b", "c"}
    first = run(instance, asset, ranged("a", "d"))
    source.broken = {"c"}

    def interrupt(key: str) -> None:
        if key == "c":
            signal.raise_signal(signal.SIGINT)

    source.when_asked = interrupt
    run(instance, asset, ranged("a", "d") | retrying(first))
    second = instance.get_runs(limit=1)[0]
    assert second.status is dg.DagsterRunStatus.FAILURE
    assert source.asked == list("abbccd")

    source.broken, source.when_asked = set(), _nothing
    tags = {"dagster/parent_run_id": second.run_id, "dagster/root_run_id": first.run_id}
    run(instance, asset, ranged("a", "d") | tags)

    assert set(source.asked) <= set("bc")
    assert colours(instance, asset)["isolated"] == (list("abcd"), [])


def test_what_failed_or_was_wiped_since_is_asked_for(instance: dg.DagsterInstance, source: Source) -> None:
    """A partition that the parent delivered, and that failed in a later run, is run again."""
    asset = isolated_asset(source)
    source.broken = {"b"}
    first = run(instance, asset, ranged("a", "c"))
    source.broken = {"a"}
    run(instance, asset, {"dagster/partition": "a"})
    assert source.asked == list("aabc")

    source.broken = set()
    run(instance, asset, ranged("a", "c") | retrying(first))

    assert source.asked == list("ab")


def test_reexecuting_a_run_that_succeeded_runs_all(instance: dg.DagsterInstance, source: Source) -> None:
    """Nothing had failed, so that must be what is wanted."""
    asset = isolated_asset(source)
    first = run(instance, asset, ranged("a", "c"))
    assert source.asked == list("abc")

    run(instance, asset, ranged("a", "c") | retrying(first))

    assert source.asked == list("abc")


def test_names_and_words_on_the_events_can_be_chosen(instance: dg.DagsterInstance, source: Source) -> None:
    """A pipeline can so continue events that are stored under other names."""
    names = EventTags(
        namespace="shop", words={Outcome.SUCCEEDED: "saved"}, recorded_at_name="fetched_at", not_copied=frozenset()
    )
    asset = isolated_asset(source, event_tags=names)
    source.broken = {"b"}
    first = run(instance, asset, ranged("a", "b"))
    assert tags_of(instance, "isolated", "a")["shop/outcome"] == "saved"

    run(instance, asset, ranged("a", "b") | retrying(first))

    assert {"shop/outcome", "shop/fetched_at"} <= tags_of(instance, "isolated", "a").keys()
    assert list(read_statuses(instance, asset.key, "ab", names).failed) == ["b"]
    assert list(read_statuses(instance, asset.key, "ab").failed) == []
