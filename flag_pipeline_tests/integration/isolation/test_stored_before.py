"""Events that a version before the isolation wrote are read as its own."""

import dagster as dg
import pytest

from flag_pipeline.isolation import EventTags, Outcome, read_statuses, run_partitions
from flag_pipeline.isolation.summary import Reporting
from flag_pipeline_tests.integration.isolation.runs import LETTERS, SINGLE_RUN, ranged, tags_of

FLAG_TAGS = EventTags(
    namespace="flag_pipeline",
    words={Outcome.SUCCEEDED: "saved", Outcome.ABSENT: "not_found"},
    recorded_at_name="fetched_at",
    not_copied=frozenset({"flag_pipeline/only_row_changed"}),
)


def test_the_status_of_what_was_stored_before(instance: dg.DagsterInstance) -> None:
    """Its outcomes have other words, and a failure does not say whether it may pass; other observations say nothing."""
    key = dg.AssetKey("flag_image")
    saved = {"flag_pipeline/outcome": "saved"}
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition="a", tags=saved))
    for partition_key, word in (("b", "not_found"), ("c", "failed")):
        tags = {"flag_pipeline/outcome": word, "flag_pipeline/kind": f"kind_{word}"}
        metadata = {"reason": "because", "kind": f"kind_{word}"}
        instance.report_runless_asset_event(
            dg.AssetObservation(key, partition=partition_key, tags=tags, metadata=metadata)
        )
    instance.report_runless_asset_event(dg.AssetObservation(key, partition="a"))

    statuses = read_statuses(instance, key, "abcd", FLAG_TAGS)

    assert (statuses.materialized, statuses.missing) == (["a"], ["d"])
    assert {name: (miss.kind, miss.reason) for name, miss in statuses.absent.items()} == {
        "b": ("kind_not_found", "because")
    }
    assert statuses.failed["c"].is_transient


def test_a_run_that_was_recorded_before_is_continued(instance: dg.DagsterInstance) -> None:
    """The re-execution asks for what failed, and a copy has none of the tags that are about one run."""
    asked: list[str] = []

    @dg.multi_asset(specs=[dg.AssetSpec("flag_image")], partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    def before(context: dg.AssetExecutionContext) -> None:
        tags = {"flag_pipeline/outcome": "saved", "flag_pipeline/only_row_changed": "true"}
        context.log_event(dg.AssetMaterialization("flag_image", partition="a", tags=tags))
        raise dg.Failure("1 of 2 countries failed", allow_retries=False)

    @dg.multi_asset(specs=[dg.AssetSpec("flag_image")], partitions_def=LETTERS, backfill_policy=SINGLE_RUN)
    def after(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def] # noqa: ANN202 - a generator
        async def ask(key: str) -> None:
            asked.append(key)
            raise ValueError

        yield from run_partitions(context, ask, reporting=Reporting(FLAG_TAGS))

    first = dg.materialize([before], instance=instance, tags=ranged("a", "b"), raise_on_error=False)
    tags = ranged("a", "b") | {"dagster/parent_run_id": first.run_id, "dagster/root_run_id": first.run_id}
    with pytest.raises(dg.Failure, match="1 of 1 partition failed"):
        dg.materialize([after], instance=instance, tags=tags)

    assert asked == ["b"]
    copied = tags_of(instance, "flag_image", "a")
    assert copied.pop("flag_pipeline/fetched_at")
    assert copied == {"flag_pipeline/outcome": "carried_over"}
