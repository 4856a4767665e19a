"""One source per store: refuses runs that would add flags of a second source, before they fetch.

If the launch names the source, the run only warns. A setting is no choice, because it may have changed since the store
was filled.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from flag_pipeline.core.presets import SourcePreset, find_preset, is_same_source
from flag_pipeline.core.provenance import describe_sources, stored_sources, write_sources
from flag_pipeline.defs.commands import fetch_command, unconfigured_store
from flag_pipeline.defs.resources import FileSinkResource
from flag_pipeline.errors import SinkError

# The source of a run that fetches.
SOURCE_TAG = "flag_pipeline/source"
# On a refused run, whose planned partitions did not change.
REFUSED_TAG = "flag_pipeline/refused"
# Whether the launch named the source outside its run configuration.
SOURCE_GIVEN_TAG = "flag_pipeline/source_given"


def is_refused(run: dg.DagsterRun) -> bool:
    """Whether the run was refused before any request."""
    return run.tags.get(REFUSED_TAG) == "true"


def is_source_given(run: dg.DagsterRun) -> bool:
    """Whether run configuration, an option or a variable named the source."""
    if SOURCE_GIVEN_TAG in run.tags:
        return run.tags[SOURCE_GIVEN_TAG] == "true"
    return "source" in _source_config(run)


def configured_source(run: dg.DagsterRun) -> str:
    """Return the run configuration's literal source, else an empty text."""
    source = _source_config(run).get("source")
    return find_preset(source).name if isinstance(source, str) else ""


def _source_config(run: dg.DagsterRun) -> Mapping[str, Any]:
    config: Any = run.run_config
    for name in ("resources", "flag_source", "config"):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config if isinstance(config, Mapping) else {}


def may_fetch_from(source: str, configured: str) -> bool:
    """Whether *source* is the *configured* one, or empty, as in older events."""
    return not source or is_same_source(source, configured)


async def require_one_source(
    context: dg.AssetExecutionContext, codes: Sequence[str], own: SourcePreset, file_sink: FileSinkResource
) -> None:
    """Record the run's source, or raise `dg.Failure`.

    Re-executions must fetch from their parent's source. Other runs must name theirs if the store has flags of another.
    """
    parent_source = _parent_source(context)
    if not may_fetch_from(parent_source, own.name):
        raise _refused(context, _other_parent(parent_source, own.name, file_sink.store))
    counts = await stored_sources(file_sink.sink, own)
    if counts:
        described = describe_sources(counts)
        if not (parent_source or is_source_given(context.run)):
            raise _refused(context, _not_chosen(described, counts, _words(context, codes), own, file_sink.store))
        context.log.warning("%s holds flags of %s; this run fetches from %s", file_sink.store, described, own.name)
    try:
        await write_sources(file_sink.sink, {*counts, own.name})
    except SinkError as exc:
        # The next run counts the records instead.
        context.log.warning("%s", exc)
    # A re-execution starts with its parent's tags.
    context.instance.add_run_tags(context.run.run_id, {SOURCE_TAG: own.name, REFUSED_TAG: "false"})


def _parent_source(context: dg.AssetExecutionContext) -> str:
    parent_id = context.run.get_parent_run_id()
    parent = context.instance.get_run_by_id(parent_id) if parent_id else None
    return parent.tags.get(SOURCE_TAG, "") if parent else ""


def _refused(context: dg.AssetExecutionContext, message: str) -> dg.Failure:
    context.instance.add_run_tags(context.run.run_id, {REFUSED_TAG: "true"})
    return dg.Failure(message, allow_retries=False)


def _other_parent(parent_source: str, own: str, store: str) -> str:
    command = fetch_command("retry", source=parent_source, store=unconfigured_store(store))
    return (
        f"the run that this one repeats fetched from {parent_source}, and this environment fetches from {own}:"
        f" nothing was fetched. Set FLAG_SOURCE={parent_source}, or run:\n{command}"
    )


def _not_chosen(described: str, counts: Mapping[str, int], words: Sequence[str], own: SourcePreset, store: str) -> str:
    main = max(counts.keys() - {own.name}, key=lambda source: (counts[source], source))
    stay, change = (
        fetch_command("run", words, source=one, store=unconfigured_store(store)) for one in (main, own.name)
    )
    return (
        f"{store} holds flags of {described}, and this launch did not name its source, {own.name}:"
        f" nothing was fetched. To go on with {main}, run:\n{stay}\n"
        f"To fill the store from {own.name}, run:\n{change}"
    )


def _words(context: dg.AssetExecutionContext, codes: Sequence[str]) -> Sequence[str]:
    """Return the arguments of `run`; none mean every country."""
    every = context.assets_def.partitions_def.get_partition_keys()
    return [] if len(codes) == len(every) else codes
