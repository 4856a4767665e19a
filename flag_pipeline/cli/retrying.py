"""Which countries `retry` fetches: each from the source last asked for it."""

from collections import defaultdict
from collections.abc import Mapping

import dagster as dg
from dagster import DagsterInstance, DagsterRun

from flag_pipeline.cli.reports import StoredFlags
from flag_pipeline.cli.run_locks import fail_orphaned_runs
from flag_pipeline.core.listing import StoreListing
from flag_pipeline.core.presets import source_of
from flag_pipeline.defs.freshness import count_by_source, latest_fetches
from flag_pipeline.defs.keys import FETCHED_ASSETS, FLAG_IMAGE
from flag_pipeline.defs.source_guard import SOURCE_TAG, configured_source, is_refused
from flag_pipeline.defs.statuses import CountryStatuses, read_country_statuses, source_of_miss
from flag_pipeline.isolation.status import latest_materializations
from flag_pipeline.settings import Settings, load_settings, partition_codes

# Searched for the latest fetch.
RECENT_RUNS = 50


def read_statuses(
    instance: DagsterInstance, settings: Settings, stored: StoreListing | None
) -> dict[str, CountryStatuses]:
    """Return the status of each country by asset. Orphaned runs are failed first."""
    fail_orphaned_runs(instance)
    codes = partition_codes(settings)
    return {key.to_user_string(): read_country_statuses(instance, key, codes, stored) for key in FETCHED_ASSETS}


def read_stored_flags(instance: DagsterInstance, statuses: CountryStatuses) -> StoredFlags:
    """Return age and sources of the stored flags, with failed countries' older ones."""
    codes = {*statuses.materialized, *statuses.failed, *statuses.absent}
    fetches = latest_fetches(instance, FLAG_IMAGE, codes)
    return StoredFlags({code: fetch.at for code, fetch in fetches.items()}, count_by_source(instance, fetches))


def codes_by_source(
    instance: DagsterInstance, settings: Settings, stored: StoreListing | None, *, source: str | None
) -> dict[str, list[str]]:
    """Return the countries to fetch by source; all from *source*, if it is given.

    Countries never asked for are fetched from the latest run's source.
    """
    fail_orphaned_runs(instance)
    usual = source or _latest_source(instance) or settings.source
    codes = sorted({*partition_codes(settings), *_partitions_of(usual)})
    statuses = {key: read_country_statuses(instance, key, codes, stored) for key in FETCHED_ASSETS}
    asked_of = {} if source else _latest_sources(instance, statuses)
    groups: dict[str, list[str]] = defaultdict(list)
    for code in codes:
        if any(code in each.to_fetch for each in statuses.values()):
            groups[asked_of.get(code, usual)].append(code)
    wanted = {name: [code for code in group if code in _partitions_of(name)] for name, group in groups.items()}
    return {name: group for name, group in wanted.items() if group}


def _partitions_of(source: str) -> list[str]:
    return partition_codes(load_settings(source=source))


def _latest_source(instance: DagsterInstance) -> str:
    runs = instance.get_runs(limit=RECENT_RUNS)
    return next((_source_of_run(run) for run in runs if _has_fetched(run)), "")


def _has_fetched(run: DagsterRun) -> bool:
    return SOURCE_TAG in run.tags and not is_refused(run)


def _latest_sources(instance: DagsterInstance, statuses: Mapping[dg.AssetKey, CountryStatuses]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, each in statuses.items():
        found |= {code: source_of_miss(code, miss) for code, miss in (each.failed | each.absent).items()}
        found |= _sources_of_lacking(instance, key, each.lacking)
        run_ids = sorted({*each.not_asked.values()})
        runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=run_ids))} if run_ids else {}
        found |= {code: _source_of_run(runs[run_id]) for code, run_id in each.not_asked.items() if run_id in runs}
    return {code: source for code, source in found.items() if source}


def _sources_of_lacking(instance: DagsterInstance, key: dg.AssetKey, codes: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for code, record in latest_materializations(instance, key, codes).items():
        said = record.asset_materialization
        if said is not None and "url" in said.metadata:
            found[code] = source_of(str(said.metadata["url"].value), code)
    return found


def _source_of_run(run: DagsterRun) -> str:
    """Return the source in the run's tag or configuration, else an empty string."""
    return run.tags.get(SOURCE_TAG) or configured_source(run)
