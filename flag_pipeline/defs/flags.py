"""The two fetching assets: one asynchronous step, many partitions, each of which succeeds or fails on its own.

Two rules of Dagster shape it. An Output would mark every partition of the run materialized, failed ones too: so
the step yields none, and records each country by hand as soon as its files are in place. And a failure must reach
the run: so after the last country it raises one `dg.Failure` that names all that failed.
"""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)
from pydantic import Field

from flag_pipeline.core.absence import AbsenceJudge
from flag_pipeline.core.countries import select_codes
from flag_pipeline.core.interrupt import interrupts_cancel_task
from flag_pipeline.core.refresh import Refresher
from flag_pipeline.core.sweep import SweepSummary, sweep
from flag_pipeline.defs.keys import COUNTRY_METADATA, FLAG_IMAGE
from flag_pipeline.defs.ledger import CODE_VERSION, OWNERS, read_ledger
from flag_pipeline.defs.planning import has_plan, plan_partitions
from flag_pipeline.defs.recording import Recorder
from flag_pipeline.defs.reexecution import carry_over
from flag_pipeline.defs.resources import FileSinkResource, FlagSourceResource
from flag_pipeline.defs.source_guard import require_one_source
from flag_pipeline.errors import FlagPipelineError
from flag_pipeline.images.decoder import Decoder

STEP = "fetch_flags"
POOL = "flag_source"
# The schedule fetches daily: one missed night is worth a look, three are an outage.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=3), warn_window=timedelta(hours=36))
NAMED_IN_FAILURE = 10
RANGE_TAGS = (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)


class FetchConfig(dg.Config):
    """What to fetch in a run that was launched without a partition."""

    countries: list[str] = Field(
        default=[],
        description="Codes, letters or POP20, for a run launched without a partition: however scattered, one run.",
    )
    refetch: bool = Field(
        default=False, description="Fetch every file in full, although the source says that it is unchanged."
    )


def flag_assets(partitions: dg.StaticPartitionsDefinition, *, most: int | None) -> dg.AssetsDefinition:
    """The assets `country_metadata` and `flag_image`; *most* cuts backfills into runs of so many countries."""
    return dg.multi_asset(
        name=STEP,
        specs=[
            dg.AssetSpec(
                COUNTRY_METADATA,
                description="The source's metadata document of each country, checked: `metadata/CN.json`.",
                skippable=True,
                code_version=CODE_VERSION,
                kinds={"json"},
                owners=OWNERS,
                freshness_policy=FRESHNESS,
            ),
            dg.AssetSpec(
                FLAG_IMAGE,
                deps=[COUNTRY_METADATA],
                description="The original bytes of each flag, checked to be a whole image: `flags/CN-China.gif`.",
                skippable=True,
                code_version=CODE_VERSION,
                kinds={"gif"},
                owners=OWNERS,
                freshness_policy=FRESHNESS,
            ),
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(most) if most else dg.BackfillPolicy.single_run(),
        can_subset=True,
        group_name="flags",
        # Two runs at once would ask one source twice as hard as the settings say; dagster.yaml sets the limit to 1.
        pool=POOL,
    )(fetch_flags)


# No return annotation: Dagster 1.13 takes that of an asynchronous generator for the type of its outputs.
async def fetch_flags(  # type: ignore[no-untyped-def] # noqa: ANN201
    context: dg.AssetExecutionContext,
    config: FetchConfig,
    flag_source: FlagSourceResource,
    file_sink: FileSinkResource,
):
    """Fetch the requested countries, record each, and fail at the end if any failed."""
    source, sink = flag_source.client, file_sink.sink
    codes = carry_over(context, requested_codes(context, config), store=file_sink.store)
    with interrupts_cancel_task(), first_of_group(), Decoder() as decoder:
        refresher = Refresher(
            source,
            sink,
            metadata=COUNTRY_METADATA in context.selected_asset_keys,
            image=FLAG_IMAGE in context.selected_asset_keys,
            history_keep=file_sink.history_keep,
            refetch=config.refetch,
            decoder=decoder,
        )
        judge = AbsenceJudge(
            refresher,
            lambda absent: asyncio.to_thread(absent_before, context, absent),
            max_lost_share=flag_source.max_lost_share,
        )
        if codes:
            await require_one_source(context, codes, source.preset, file_sink)
        async with Recorder(context, source=source.preset.name, store=file_sink.store) as recorder:
            summary = await sweep(
                codes,
                refresher,
                recorder.record,
                max_requests=flag_source.max_requests,
                timeout_s=flag_source.sweep_timeout_s,
                judge=judge,
            )
    report(context, summary)
    return
    yield  # Makes this a generator: of a coroutine Dagster wants a value an output, which would mark all partitions.


def requested_codes(context: dg.AssetExecutionContext, config: FetchConfig) -> list[str]:
    """Return the countries that this run is for: its partitions, or those that its configuration lists."""
    is_partitioned = context.has_partition_key or context.has_partition_key_range
    if is_partitioned == bool(config.countries):
        raise dg.Failure(
            "choose partitions, or list countries in the configuration of fetch_flags: one of the two",
            allow_retries=False,
        )
    if is_partitioned:
        return partition_keys(context)
    try:
        codes = select_codes(config.countries, context.assets_def.partitions_def.get_partition_keys())
    except FlagPipelineError as exc:
        raise dg.Failure(str(exc), allow_retries=False) from exc
    if not has_plan(context.instance, context.run):
        plan_partitions(context.instance, context.run, context.selected_asset_keys, codes, step=STEP)
    return codes


def partition_keys(context: dg.AssetExecutionContext) -> list[str]:
    """Return the partitions that the run's tags ask for.

    Raises `dg.Failure` for a partition that does not exist and for a reversed range, of which Dagster makes no
    partitions at all: the run would succeed without having fetched anything.
    """
    tags, existing = context.run.tags, context.assets_def.partitions_def.get_partition_keys()
    wanted = [tags[name] for name in (*RANGE_TAGS, PARTITION_NAME_TAG) if name in tags]
    if unknown := [key for key in dict.fromkeys(wanted) if key not in existing]:
        raise dg.Failure(
            f"there is no partition {' and no partition '.join(map(repr, unknown))}: partitions are the codes of ISO "
            "3166-1 in capitals and those of FLAG_EXTRA_CODES, less the codes that the source is known to lack",
            allow_retries=False,
        )
    if keys := list(context.partition_keys):
        return keys
    raise dg.Failure(
        f"the range from {wanted[0]} to {wanted[-1]} is reversed: choose {wanted[-1]} to {wanted[0]}",
        allow_retries=False,
    )


def absent_before(context: dg.AssetExecutionContext, codes: Collection[str]) -> set[str]:
    """Return those of *codes* that the source did not have when they were last asked for."""
    ledgers = (read_ledger(context.instance, key, codes) for key in context.selected_asset_keys)
    return {code for ledger in ledgers for code in ledger.not_found}


@contextmanager
def first_of_group() -> Iterator[None]:
    """Raise the first error of a group in its place: a group says how many it has, not what they are."""
    try:
        yield
    except ExceptionGroup as group:
        error = group.exceptions[0]
        raise error from error.__cause__


def report(context: dg.AssetExecutionContext, summary: SweepSummary) -> None:
    """Say in the run's log what came of it; raise `dg.Failure` if any country failed."""
    context.log.info(
        "requested=%d saved=%d unchanged=%d not_found=%d failed=%d",
        summary.requested,
        summary.saved,
        summary.unchanged,
        len(summary.not_found),
        len(summary.failed),
    )
    if summary.problem and not summary.failed:
        raise dg.Failure(summary.problem, allow_retries=False)
    if summary.failed:
        raise dg.Failure(
            describe_failures(summary),
            metadata={
                "failed": dg.MetadataValue.table(
                    [
                        dg.TableRecord(
                            {
                                "code": miss.code,
                                "kind": str(miss.kind),
                                "reason": miss.reason,
                                "attempts": miss.attempts,
                                "url": miss.url,
                            }
                        )
                        for miss in sorted(summary.failed, key=lambda miss: miss.code)
                    ]
                )
            },
            allow_retries=False,
        )


def describe_failures(summary: SweepSummary) -> str:
    """Return how many of how many failed, and in the lines below which and why."""
    failed = sorted(summary.failed, key=lambda miss: miss.code)
    countries = "country" if summary.requested == 1 else "countries"
    lines = [f"{len(failed)} of {summary.requested} {countries} failed"]
    lines += [summary.problem] if summary.problem else []
    lines += [f"{miss.code} {miss.kind}: {miss.reason}" for miss in failed[:NAMED_IN_FAILURE]]
    if len(failed) > NAMED_IN_FAILURE:
        lines.append(f"and {len(failed) - NAMED_IN_FAILURE} more, in the table `failed`")
    return "\n".join(lines)
