"""The fetching assets: one step for many countries, which fail separately."""

import asyncio
import signal
from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from flag_pipeline.core.absence import AbsenceJudge
from flag_pipeline.core.listing import list_store
from flag_pipeline.core.presets import find_preset
from flag_pipeline.core.refresh import Refresher
from flag_pipeline.core.selection import select_codes
from flag_pipeline.defs.countries import Countries
from flag_pipeline.defs.events import EVENT_TAGS
from flag_pipeline.defs.executor import is_being_canceled
from flag_pipeline.defs.keys import CODE_VERSION, COUNTRY_METADATA, FLAG_IMAGE, OWNERS
from flag_pipeline.defs.resources import FileSinkResource, FlagSourceResource, trace_ends_here
from flag_pipeline.defs.source_guard import require_one_source
from flag_pipeline.errors import ConfigurationError, FlagPipelineError
from flag_pipeline.images.decoder import Decoder
from flag_pipeline.isolation import (
    Hooks,
    Interrupted,
    Limits,
    Missed,
    Outcome,
    Reporting,
    Summary,
    failure,
    read_statuses,
    run_partitions,
)

STEP = "fetch_flags"
POOL = "flag_source"
# One missed night is a warning, three are a failure.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=3), warn_window=timedelta(hours=36))
# Countries per request: some are fetched while others are stored.
IN_PROGRESS = 2


class FetchConfig(dg.Config):
    """What to fetch in a run that was launched without a partition."""

    # YAML reads an unquoted NO as false, and Dagster would refuse it without saying why.
    countries: list[Any] = Field(
        default=[],
        description="Codes, letters or POP20, for a run launched without a partition: however scattered, one run. "
        "None means all.",
    )
    refetch: bool = Field(
        default=False, description="Fetch every file in full, although the source says that it is unchanged."
    )


def flag_assets(
    partitions: dg.StaticPartitionsDefinition, *, max_per_run: int | None, source: str
) -> dg.AssetsDefinition:
    """Return the assets; a backfill run has at most *max_per_run* countries."""
    formats = find_preset(source).formats
    kind = next(iter(formats)) if len(formats) == 1 else "image"
    descriptions = {
        COUNTRY_METADATA: "The source's metadata document of each country, checked: `metadata/CN.json`.",
        FLAG_IMAGE: "The original bytes of each flag, checked to be a whole image: `flags/CN-China.gif`.",
    }
    return dg.multi_asset(
        name=STEP,
        specs=[
            dg.AssetSpec(
                key,
                deps=[COUNTRY_METADATA] if key == FLAG_IMAGE else [],
                description=description,
                skippable=True,
                code_version=CODE_VERSION,
                kinds={kind if key == FLAG_IMAGE else "json"},
                owners=OWNERS,
                freshness_policy=FRESHNESS,
            )
            for key, description in descriptions.items()
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(max_per_run) if max_per_run else dg.BackfillPolicy.single_run(),
        can_subset=True,
        group_name="flags",
        # Two runs would exceed the request limits; dagster.yaml allows one.
        pool=POOL,
    )(fetch_flags)


# Dagster would take a return annotation for the type of the outputs.
def fetch_flags(  # type: ignore[no-untyped-def] # noqa: ANN201
    context: dg.AssetExecutionContext,
    config: FetchConfig,
    flag_source: FlagSourceResource,
    file_sink: FileSinkResource,
):
    """Fetch the requested countries, record each, and fail at the end if any failed."""
    source, asset_keys = flag_source.client, context.selected_asset_keys
    with Decoder() as decoder:
        refresher = Refresher(
            source,
            file_sink.sink,
            metadata=COUNTRY_METADATA in asset_keys,
            image=FLAG_IMAGE in asset_keys,
            history_keep=file_sink.history_keep,
            refetch=config.refetch,
            decoder=decoder,
        )
        judge = AbsenceJudge(refresher, partial(_absent_before, context), max_lost_share=flag_source.max_lost_share)
        countries = Countries(refresher, judge, sorted(asset_keys), source.preset.name, file_sink.store)

        async def prepare(codes: Sequence[str]) -> None:
            countries.codes = codes
            with trace_ends_here():
                await require_one_source(context, codes, source.preset, file_sink)

        try:
            yield from run_partitions(
                context,
                countries.fetch,
                partition_keys=listed_codes(context, config),
                limits=Limits(IN_PROGRESS * flag_source.max_requests, step_timeout_s=flag_source.sweep_timeout_s),
                reporting=Reporting(EVENT_TAGS, describe_failure),
                hooks=Hooks(
                    partial(_still_stored, asset_keys, file_sink.store),
                    prepare,
                    countries.revoke,
                    countries.note_failure,
                    countries.judge,
                ),
            )
        except Interrupted as interrupted:
            if interrupted.signal == signal.SIGINT.name and not is_being_canceled(context.instance, context.run):
                context.instance.report_run_canceling(context.run)
            # Dagster tries a run again that another signal ended.
            if not is_being_canceled(context.instance, context.run):
                raise
            raise describe_end(interrupted.summary) from None


def listed_codes(context: dg.AssetExecutionContext, config: FetchConfig) -> list[str]:
    """Return the run configuration's countries; all if neither it nor the launch names any."""
    is_launched_with_partitions = context.has_partition_key or context.has_partition_key_range
    if is_launched_with_partitions and not config.countries:
        return []
    try:
        words = [_as_word(value) for value in config.countries]
        return select_codes(words, context.assets_def.partitions_def.get_partition_keys())
    except FlagPipelineError as exc:
        raise dg.Failure(str(exc), allow_retries=False) from None


def _as_word(value: object) -> str:
    """Return a code as written: YAML 1.1 reads NO as false, and 012 as ten."""
    if value is False:
        return "NO"
    if not isinstance(value, str):
        raise ConfigurationError(f"countries: write {value!r} in quotes, because YAML does not read it as text")
    return value


def _still_stored(asset_keys: Collection[dg.AssetKey], store: str, codes: Sequence[str]) -> set[str]:
    """Return those of *codes* with files in the store."""
    stored = list_store(store)
    files = {COUNTRY_METADATA: stored.metadata, FLAG_IMAGE: stored.flags}
    return set(codes).intersection(*(files[key] for key in asset_keys))


async def _absent_before(context: dg.AssetExecutionContext, codes: Collection[str]) -> set[str]:
    """Return those of *codes* whose latest outcome is absent."""
    read = partial(read_statuses, context.instance, partition_keys=codes, tags=EVENT_TAGS)
    statuses = [await asyncio.to_thread(read, asset_key=key) for key in context.selected_asset_keys]
    return {code for each in statuses for code in each.absent}


def describe_end(summary: Summary) -> dg.Failure:
    """Return the failure of a canceled run: how many countries it had fetched."""
    n_fetched = summary.counts[Outcome.SUCCEEDED] + summary.counts[Outcome.UNCHANGED]
    countries = "country" if summary.requested == 1 else "countries"
    return dg.Failure(
        f"{n_fetched} of {summary.requested} {countries} fetched when the run was ended. "
        "What was recorded stays; flag-pipeline retry fetches the rest.",
        allow_retries=False,
    )


def describe_failure(summary: Summary) -> dg.Failure:
    """Return a run's failure: which countries failed, and why."""
    described = failure(summary, one="country", many="countries", row=_row)
    return dg.Failure(described.description, metadata=described.metadata, allow_retries=False)


def _row(missed: Missed) -> dg.TableRecord:
    metadata = {name: getattr(value, "value", value) for name, value in missed.metadata.items()}
    return dg.TableRecord(
        {
            "code": missed.key,
            "kind": missed.kind,
            "reason": missed.reason,
            "attempts": metadata.get("attempts", missed.attempts),
            "url": metadata.get("url", ""),
        }
    )
