"""The healing sensor: which failed countries it fetches again."""

from collections import defaultdict
from collections.abc import Mapping

import dagster as dg

from flag_pipeline.defs.commands import fetch_command
from flag_pipeline.defs.events import EVENT_TAGS
from flag_pipeline.defs.flags import STEP
from flag_pipeline.defs.jobs import refresh_flags
from flag_pipeline.defs.source_guard import SOURCE_GIVEN_TAG, may_fetch_from
from flag_pipeline.defs.statuses import source_of_miss, store_of_miss
from flag_pipeline.errors import ErrorKind
from flag_pipeline.isolation import HealingPolicy, LastMiss, healing_sensor
from flag_pipeline.settings import Settings


def healing(flags: dg.AssetsDefinition, settings: Settings) -> dg.SensorDefinition:
    """Return the sensor that fetches failed countries again, with growing delays and a limit.

    It skips failures of other sources and stores.
    """
    return healing_sensor(
        flags,
        refresh_flags,
        name="healing",
        policy=HealingPolicy(settings.heal_attempts, settings.heal_delay_s),
        run_config=lambda codes: {"ops": {STEP: {"config": {"countries": list(codes)}}}},
        may_pass=lambda miss: is_transient(miss.kind),
        choose=lambda failed: choose(failed, source=settings.source, store=settings.store),
        # The source is the same as before.
        run_tags={SOURCE_GIVEN_TAG: "true"},
        event_tags=EVENT_TAGS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Fetches countries again that failed for a reason that may pass.",
    )


def is_transient(kind: str) -> bool:
    """Whether the kind is transient; unknown kinds are bugs."""
    return any(kind == each and each.is_transient for each in ErrorKind)


def choose(failed: Mapping[str, LastMiss], *, source: str, store: str) -> tuple[dict[str, LastMiss], str]:
    """Return failures of this source and store, and commands that fetch others."""
    ours, others = dict[str, LastMiss](), defaultdict[tuple[str, str], list[str]](list)
    for code, miss in sorted(failed.items()):
        its_source, its_store = source_of_miss(code, miss), store_of_miss(miss)
        if may_fetch_from(its_source, source) and its_store in {"", store}:
            ours[code] = miss
        else:
            others[its_source, "" if its_store == store else its_store].append(code)
    commands = [fetch_command("run", codes, source=one, store=other) for (one, other), codes in others.items()]
    if not commands:
        return ours, ""
    text = "Asked for at another source, or for another store, than this deployment's; run: " + "; ".join(commands)
    return ours, text
