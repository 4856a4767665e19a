"""`run_partitions`, for assets that prepare something once a step: the seam under the decorator."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
from pydantic import Field

from flag_pipeline.isolation import (
    EventTags,
    Hooks,
    Limits,
    Missed,
    Outcome,
    RecordedOutcome,
    Reporting,
    Summary,
    read_outcome,
    run_partitions,
)
from flag_pipeline_tests.integration.isolation.runs import (
    LETTERS,
    SINGLE_RUN,
    colours,
    events,
    failure_text,
    ranged,
)

SHOP_TAGS = EventTags(namespace="shop", words={Outcome.SUCCEEDED: "saved", Outcome.ABSENT: "not_found"})


class Shop(dg.ConfigurableResource[Any]):
    """A resource that the limits of the step come from."""

    max_connections: int = 2
    deadline_s: float = 60


class ListConfig(dg.Config):
    """A configuration that lists partitions under another name."""

    letters: list[str] = Field(default=[])


def own_failure(summary: Summary) -> dg.Failure:
    """The failure of a step in the pipeline's own words."""
    return dg.Failure(f"{len(summary.failed)} letters failed", metadata={"asked": summary.requested})


def letters_asset(prepared: list[str], *, note_failure: Any = None) -> dg.AssetsDefinition:
    """A multi_asset that prepares something once and then runs its partitions."""

    @dg.multi_asset(
        specs=[dg.AssetSpec("one"), dg.AssetSpec("two", deps=["one"])],
        partitions_def=LETTERS,
        can_subset=True,
        backfill_policy=SINGLE_RUN,
    )
    def letters(context: dg.AssetExecutionContext, config: ListConfig, shop: Shop) -> Iterator[Any]:
        prepared.append("once")

        async def letter(key: str) -> list[dg.MaterializeResult[None]]:
            if key == "b":
                raise ValueError("no b")
            if key == "e":
                await asyncio.Event().wait()
            tags = {"shop/only_row_changed": "true"}
            return [dg.MaterializeResult(asset_key=asset, tags=tags, metadata={"n": 1}) for asset in ("one", "two")]

        yield from run_partitions(
            context,
            letter,
            partition_keys=config.letters,
            limits=Limits(max_concurrent=shop.max_connections, step_timeout_s=shop.deadline_s),
            reporting=Reporting(SHOP_TAGS, own_failure),
            hooks=Hooks(note_failure=note_failure),
        )

    return letters


def test_preparation_limits_names_and_failure_are_the_pipelines_own(instance: dg.DagsterInstance) -> None:
    """The preparation runs once, limits come from a resource, and tags and the failure's text are the asset's own."""
    prepared: list[str] = []
    letters = letters_asset(prepared)

    result = dg.materialize(
        [letters], instance=instance, resources={"shop": Shop()}, tags=ranged("a", "c"), raise_on_error=False
    )

    assert prepared == ["once"]
    assert failure_text(result) == "1 letters failed"
    assert colours(instance, letters) == {"one": (["a", "c"], ["b"]), "two": (["a", "c"], ["b"])}
    materialization = events(instance, "two", "a")[0].asset_materialization
    assert materialization is not None
    tags = materialization.tags or {}
    assert (tags["shop/outcome"], tags["shop/only_row_changed"]) == ("saved", "true")


def test_a_list_of_its_own(instance: dg.DagsterInstance) -> None:
    """The keys come from wherever the asset takes them."""
    letters = letters_asset([])
    config = {"ops": {"letters": {"config": {"letters": ["a", "d"]}}}}

    result = dg.materialize([letters], instance=instance, resources={"shop": Shop()}, run_config=config)

    assert result.success
    assert colours(instance, letters)["one"] == (["a", "d"], [])


def test_what_the_deadline_leaves_is_handed_over(instance: dg.DagsterInstance) -> None:
    """`Hooks.note_failure` may note it elsewhere and choose the outcome."""
    asked: list[str] = []

    async def note_failure(missed: Missed) -> Missed:
        asked.append(missed.key)
        return replace(missed, kind="late")

    letters = letters_asset([], note_failure=note_failure)
    shop = Shop(deadline_s=1)

    dg.materialize([letters], instance=instance, resources={"shop": shop}, tags=ranged("c", "e"), raise_on_error=False)

    assert asked == ["e"]
    observation = events(instance, "one", "e", dg.DagsterEventType.ASSET_OBSERVATION)[0].asset_observation
    assert observation is not None
    assert observation.tags["shop/kind"] == "late"


def test_events_can_be_read_as_they_come(instance: dg.DagsterInstance) -> None:
    """A listener hears of each partition and asset once, while the run goes on."""
    letters = letters_asset([])
    job = dg.Definitions([letters], resources={"shop": Shop()}).resolve_implicit_global_asset_job_def()
    read: list[RecordedOutcome] = []

    result = job.execute_in_process(instance=instance, tags=ranged("a", "b"), raise_on_error=False)
    for entry in instance.all_logs(result.run_id):
        recorded = read_outcome(entry.dagster_event, SHOP_TAGS) if entry.dagster_event else None
        if recorded is not None:
            read.append(recorded)

    found = sorted((each.partition_key, each.asset_key.to_user_string(), str(each.outcome)) for each in read)
    assert found == [
        ("a", "one", "succeeded"),
        ("a", "two", "succeeded"),
        ("b", "one", "failed"),
        ("b", "two", "failed"),
    ]
    failed = next(each for each in read if each.outcome is Outcome.FAILED)
    assert (failed.kind, failed.reason, failed.metadata["attempts"]) == ("ValueError", "no b", 1)
    assert next(each for each in read if each.outcome is Outcome.SUCCEEDED).metadata == {"n": 1}
