"""The definitions that Dagster loads, merged from `defs/`; nothing is read or opened here."""

import dagster as dg

from flag_pipeline.defs.catalog import catalog_asset
from flag_pipeline.defs.changes import flag_changes
from flag_pipeline.defs.checks import CheckLimits
from flag_pipeline.defs.executor import cancelable_executor
from flag_pipeline.defs.flags import flag_assets
from flag_pipeline.defs.gallery import gallery_asset
from flag_pipeline.defs.healing import healing
from flag_pipeline.defs.jobs import list_renditions, make_release, rebuild_catalog, refresh_flags, render_flags
from flag_pipeline.defs.partitions import country_partitions
from flag_pipeline.defs.pruning import pruning_job, weekly_pruning
from flag_pipeline.defs.release import release_asset
from flag_pipeline.defs.renditions import rendition_assets
from flag_pipeline.defs.resources import SINK_KEY, SOURCE_KEY, FileSinkResource, FlagSourceResource
from flag_pipeline.defs.scaffolded import scaffolded_definitions
from flag_pipeline.defs.schedules import daily_refresh
from flag_pipeline.defs.sensors import catalog_automation, catalog_follows, release_automation, rendition_automation
from flag_pipeline.settings import Settings, load_settings, partition_codes


def build_definitions(settings: Settings) -> dg.Definitions:
    """Return the assets, jobs, schedules, sensors and resources for *settings*."""
    codes, max_per_run = partition_codes(settings), settings.max_partitions_per_run
    partitions, prune_runs = country_partitions(settings), pruning_job(settings)
    flags = flag_assets(partitions, max_per_run=max_per_run, source=settings.source)
    renditions = rendition_assets(partitions, settings.wanted_renditions, settings.rendition_format)
    return dg.Definitions(
        assets=[
            flags,
            catalog_asset(codes, CheckLimits.from_settings(settings)),
            flag_changes,
            gallery_asset(with_renditions=bool(renditions)),
            *renditions,
            release_asset(codes, settings.wanted_renditions, settings.rendition_format, keep=settings.releases_keep),
        ],
        jobs=[
            refresh_flags,
            rebuild_catalog,
            make_release,
            *([render_flags, list_renditions] if renditions else []),
            prune_runs,
        ],
        schedules=[daily_refresh(codes, max_per_run=max_per_run), weekly_pruning(prune_runs)],
        sensors=[
            catalog_automation,
            release_automation,
            *([rendition_automation] if renditions else []),
            catalog_follows(dg.DagsterRunStatus.SUCCESS),
            catalog_follows(dg.DagsterRunStatus.FAILURE),
            catalog_follows(dg.DagsterRunStatus.CANCELED),
            healing(flags, settings),
        ],
        resources={
            SOURCE_KEY: FlagSourceResource.from_settings(settings),
            SINK_KEY: FileSinkResource.from_settings(settings),
        },
        # One event loop and session serve a whole run; a process per step would only add start-up time.
        executor=cancelable_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: `build_definitions`, and what `dg scaffold defs` added."""
    return dg.Definitions.merge(build_definitions(load_settings()), scaffolded_definitions())
