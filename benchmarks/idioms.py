"""The same work in the two idioms that Dagster's own guide describes, run with Dagster's event log.

Neither isolates failures within a run: one country's failure costs the run of all, or each country needs its own run.
Source: https://docs.dagster.io/guides/build/partitions-and-backfills, read 2026-11-23.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from benchmarks.plain_script import fetch_all
from flag_pipeline.core.countries import iso_codes

MAX_REQUESTS = 32


@dg.multi_asset(
    specs=[dg.AssetSpec("country_metadata"), dg.AssetSpec("flag_image")],
    partitions_def=dg.StaticPartitionsDefinition(list(iso_codes())),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def flags(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Fetch whatever partitions the run is for, as the plain script does."""
    folder = Path(os.environ["FLAG_STORE"])
    asyncio.run(fetch_all(os.environ["FLAG_SOURCE"], folder, MAX_REQUESTS, list(context.partition_keys)))
    for key in ("country_metadata", "flag_image"):
        yield dg.MaterializeResult(asset_key=key)


defs = dg.Definitions(assets=[flags])
