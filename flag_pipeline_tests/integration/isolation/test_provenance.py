"""An isolated partition's version tags are those of a plain asset, and staleness follows from them."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from flag_pipeline.isolation import per_partition
from flag_pipeline.isolation.recording import EventWriter
from flag_pipeline_tests.integration.isolation.runs import LETTERS, SINGLE_RUN, events, ranged, tags_of

DAYS = dg.DailyPartitionsDefinition("2024-01-01")
WEEKS = dg.WeeklyPartitionsDefinition("2023-12-31")
OWN_TAGS = {"isolation/outcome"}
Isolating = Callable[[Callable[..., Any]], Callable[..., Any]]


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a plain asset that does the same in a run of one partition."""

    def compute(context: dg.AssetExecutionContext) -> Any:
        return function(partition_key=context.partition_key)

    return compute


def stale(instance: dg.DagsterInstance, assets: list[Any], asset_key: str, partition_key: str) -> str:
    """What Dagster's UI says of a partition: FRESH, STALE or MISSING."""
    graph = dg.Definitions(assets).get_repository_def().asset_graph
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return resolver.get_status(dg.AssetKey(asset_key), partition_key).name


def upstreams() -> list[dg.AssetsDefinition]:
    """Plain upstream assets: of the same partitions, without partitions, and one that is never materialized."""

    @dg.asset(partitions_def=LETTERS, code_version="u1")
    def same(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(data_version=dg.DataVersion(f"same {context.partition_key}"))

    @dg.asset
    def whole() -> None:
        pass

    @dg.asset(partitions_def=LETTERS)
    def never() -> None:
        pass

    return [same, whole, never]


def downstream(isolating: Isolating, result: dg.MaterializeResult[None] | None, **options: Any) -> dg.AssetsDefinition:
    """An asset of the three, made plain or isolated, that returns *result*."""

    def function(partition_key: str) -> dg.MaterializeResult[None] | None:
        return result

    asset: dg.AssetsDefinition = dg.asset(name="downstream", **options)(isolating(function))
    return asset


@pytest.mark.parametrize("code_version", ["7", None])
@pytest.mark.parametrize(
    "result",
    [None, dg.MaterializeResult(data_version=dg.DataVersion("v/é")), dg.MaterializeResult(tags={"mine": "1"})],
    ids=["computed", "provided", "tagged"],
)
def test_tags_equal_those_of_a_plain_asset(
    instance: dg.DagsterInstance, code_version: str | None, result: dg.MaterializeResult[None] | None
) -> None:
    """The same asset, plain and isolated, in runs for one partition: the tags differ in the outcome alone."""
    same, whole, never = upstreams()
    for key in "ba":
        dg.materialize([same], instance=instance, partition_key=key)
    dg.materialize([whole], instance=instance)
    options = {"partitions_def": LETTERS, "deps": [same, whole, never], "code_version": code_version}
    tags = []
    for isolating in (plain, per_partition):
        asset = downstream(isolating, result, **options)
        run = dg.materialize([same, whole, never, asset], selection=[asset], instance=instance, partition_key="b")
        of_run = tags_of(instance, "downstream", "b")
        tags.append({name: value.replace(run.run_id, "the run") for name, value in of_run.items()})

    if code_version is None:  # the version of the code is then the run, and with it the computed data version
        for each in tags:
            each.pop("dagster/data_version", None)
    assert tags[1].pop("isolation/outcome") == "succeeded"
    assert tags[1] == tags[0]


@pytest.mark.parametrize("upstream_def", [WEEKS, LETTERS], ids=["weekly", "all"])
def test_mapped_partitions_give_the_versions_that_a_plain_asset_has(
    instance: dg.DagsterInstance, upstream_def: dg.PartitionsDefinition[Any]
) -> None:
    """A partition that depends on others, through a mapping."""
    keys = ["2023-12-31"] if upstream_def is WEEKS else ["a", "b", "c"]
    mapping = None if upstream_def is WEEKS else dg.AllPartitionMapping()

    @dg.asset(partitions_def=upstream_def)
    def upstream(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(data_version=dg.DataVersion(context.partition_key))

    for key in keys:
        dg.materialize([upstream], instance=instance, partition_key=key)
    deps = [dg.AssetDep(upstream, partition_mapping=mapping)]
    tags = []
    for isolating in (plain, per_partition):
        asset = downstream(isolating, None, partitions_def=DAYS, deps=deps, code_version="1")
        dg.materialize([upstream, asset], selection=[asset], instance=instance, partition_key="2024-01-03")
        tags.append(tags_of(instance, "downstream", "2024-01-03"))

    assert {name: value for name, value in tags[1].items() if name not in OWN_TAGS} == tags[0]


def test_very_many_upstream_partitions_give_the_version_that_a_plain_asset_has(instance: dg.DagsterInstance) -> None:
    """From 100 on, Dagster takes the latest event's version instead of asking for all of them."""
    many = dg.StaticPartitionsDefinition([f"{number:03}" for number in range(100)])

    @dg.asset(partitions_def=many)
    def upstream(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(data_version=dg.DataVersion(context.partition_key))

    for key in ("001", "000"):
        dg.materialize([upstream], instance=instance, partition_key=key)
    tags = []
    for isolating in (plain, per_partition):
        deps = [dg.AssetDep(upstream, partition_mapping=dg.AllPartitionMapping())]
        asset = downstream(isolating, None, partitions_def=LETTERS, deps=deps, code_version="1")
        dg.materialize([upstream, asset], selection=[asset], instance=instance, partition_key="a")
        tags.append(tags_of(instance, "downstream", "a"))

    assert tags[1]["dagster/input_data_version/upstream"] == "000"
    assert {name: value for name, value in tags[1].items() if name not in OWN_TAGS} == tags[0]


def test_one_asset_of_a_multi_asset_alone_has_the_version_of_its_own_upstream_partition(
    instance: dg.DagsterInstance,
) -> None:
    """A later materialization of another upstream partition does not matter."""
    both, third = chain({"first": 1})
    dg.materialize([both, third], instance=instance, tags=ranged("a", "c"))
    latest = events(instance, "first")[0].storage_id

    dg.materialize([both], instance=instance, tags=ranged("a", "b"), selection=["second"])

    tags = tags_of(instance, "second", "a")
    assert tags["dagster/input_data_version/first"] == sha256(b"a 1").hexdigest()  # as Dagster does
    assert tags["dagster/input_event_pointer/first"] == str(latest)
    assert stale(instance, [both, third], "second", "a") == "FRESH"


def test_a_multi_asset_has_the_tags_of_a_plain_one(instance: dg.DagsterInstance) -> None:
    """The downstream asset of the same step points at the materialization of its upstream asset."""

    def function(partition_key: str) -> list[dg.MaterializeResult[None]]:
        return [dg.MaterializeResult(asset_key=key) for key in ("first", "second")]

    def as_plain(context: dg.AssetExecutionContext) -> tuple[dg.MaterializeResult[None], ...]:
        return tuple(function(context.partition_key))

    specs = [
        dg.AssetSpec("first", code_version="1"),
        dg.AssetSpec("second", deps=["first"], code_version="1"),
    ]
    tags = []
    for compute in (as_plain, per_partition(function)):
        asset = dg.multi_asset(name="both", specs=specs, partitions_def=LETTERS)(compute)
        dg.materialize([asset], instance=instance, partition_key="a")
        first = events(instance, "first", "a")[0].storage_id
        of_second = tags_of(instance, "second", "a")
        assert of_second.pop("dagster/input_event_pointer/first") == str(first)
        tags.append(of_second)

    assert {name: value for name, value in tags[1].items() if name not in OWN_TAGS} == tags[0]


def chain(versions: dict[str, int]) -> list[dg.AssetsDefinition]:
    """A multi_asset of two, one downstream of the other, and an isolated asset downstream of both."""
    specs = [
        dg.AssetSpec("first", code_version="1"),
        dg.AssetSpec("second", deps=["first"], code_version="1"),
    ]

    @dg.multi_asset(specs=specs, partitions_def=LETTERS, can_subset=True, backfill_policy=SINGLE_RUN)
    @per_partition
    async def both(partition_key: str) -> list[dg.MaterializeResult[None]]:
        first = dg.DataVersion(f"{partition_key} {versions['first']}")
        return [
            dg.MaterializeResult(asset_key="first", data_version=first),
            dg.MaterializeResult(asset_key="second", data_version=dg.DataVersion("constant")),
        ]

    @dg.asset(partitions_def=LETTERS, deps=["second"], code_version="1", backfill_policy=SINGLE_RUN)
    @per_partition
    async def third(partition_key: str) -> None:
        pass

    return [both, third]


def test_what_was_made_in_one_run_is_fresh(instance: dg.DagsterInstance) -> None:
    """All of a chain, and it stays so when the first is made again with the same version."""
    assets = chain({"first": 1})
    both, _ = assets

    dg.materialize(assets, instance=instance, tags=ranged("a", "c"))
    dg.materialize([both], instance=instance, tags=ranged("a", "b"), selection=["first"])

    assert {stale(instance, assets, name, key) for name in ("first", "second", "third") for key in "abc"} == {"FRESH"}


def test_a_partition_becomes_stale_when_its_upstream_partition_changed(instance: dg.DagsterInstance) -> None:
    """In a multi_asset: only that partition, and only because the tag points at the upstream event."""
    versions = {"first": 1}
    assets = chain(versions)
    both, _ = assets
    dg.materialize(assets, instance=instance, tags=ranged("a", "c"))

    versions["first"] = 2
    dg.materialize([both], instance=instance, tags=ranged("b", "b"), selection=["first"])

    assert {key: stale(instance, assets, "second", key) for key in "abc"} == {"a": "FRESH", "b": "STALE", "c": "FRESH"}


def test_without_the_storage_id_nothing_becomes_stale(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test before holds, when the tag says NULL as a version before this one wrote it."""
    versions_of = EventWriter._versions  # noqa: SLF001 - what is shown is that this matters

    def without_ids(self: EventWriter, *args: Any) -> Any:
        return {key: version._replace(storage_id=None) for key, version in versions_of(self, *args).items()}

    monkeypatch.setattr(EventWriter, "_versions", without_ids)
    versions = {"first": 1}
    assets = chain(versions)
    both, _ = assets
    dg.materialize(assets, instance=instance, tags=ranged("a", "c"))

    versions["first"] = 2
    dg.materialize([both], instance=instance, tags=ranged("b", "b"), selection=["first"])

    assert stale(instance, assets, "second", "b") != "STALE"


def test_an_upstream_asset_that_is_not_defined_here(instance: dg.DagsterInstance) -> None:
    """It may belong to another code location: the tags are those of a plain asset."""
    tags = []
    for isolating in (plain, per_partition):
        asset = downstream(isolating, None, partitions_def=LETTERS, deps=["elsewhere"], code_version="1")
        dg.materialize([asset], instance=instance, partition_key="a")
        tags.append(tags_of(instance, "downstream", "a"))

    assert {name: value for name, value in tags[1].items() if name not in OWN_TAGS} == tags[0]


def test_an_asset_that_depends_on_its_own_earlier_partition(instance: dg.DagsterInstance) -> None:
    """It points at the event before the step, as a plain asset does."""
    mapping = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
    tags = []
    for isolating in (plain, per_partition):
        asset = downstream(
            isolating,
            None,
            partitions_def=DAYS,
            deps=[dg.AssetDep("downstream", partition_mapping=mapping)],
            code_version="1",
        )
        dg.materialize([asset], instance=instance, partition_key="2024-01-01")
        dg.materialize([asset], instance=instance, partition_key="2024-01-02")
        before = events(instance, "downstream", "2024-01-01")[0].storage_id
        of_second = tags_of(instance, "downstream", "2024-01-02")
        assert of_second.pop("dagster/input_event_pointer/downstream") == str(before)
        tags.append({name: value for name, value in of_second.items() if name not in OWN_TAGS})
        instance.wipe_assets([dg.AssetKey("downstream")])

    assert tags[1] == tags[0]
