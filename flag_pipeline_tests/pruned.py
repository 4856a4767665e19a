"""An instance before and after old runs are deleted: its runs made older, and all that it says of its partitions."""

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value, get_partition_subsets
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget

from flag_pipeline.ui.webserver import SameOriginWebserver

# The colours that the UI shows, by asset, with the text of its latest check evaluations.
GRAPHQL = """{ assetNodes {
  assetKey { path } isPartitioned
  partitionStats { numMaterialized numFailed numMaterializing numPartitions }
  assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions failedPartitions
    materializingPartitions unmaterializedPartitions } }
  assetMaterializations(limit: 1) { runId timestamp }
  assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status runId } } } }
} }"""


def age_runs(home: Path, ages: Mapping[str, timedelta]) -> None:
    """Move the stored times of these runs, by id, into the past."""
    with closing(sqlite3.connect(home / "history/runs.db")) as runs:
        for run_id, age in ages.items():
            earlier, seconds = f"-{age.total_seconds()} seconds", age.total_seconds()
            columns = ", ".join(
                f"{name} = strftime('%Y-%m-%d %H:%M:%f', {name}, :earlier)"
                for name in ("create_timestamp", "update_timestamp")
            )
            times = "start_time = start_time - :seconds, end_time = end_time - :seconds"
            values = {"earlier": earlier, "seconds": seconds, "run_id": run_id}
            runs.execute(f"UPDATE runs SET {columns}, {times} WHERE run_id = :run_id", values)  # noqa: S608 - ours
        runs.commit()


def partition_statuses(instance: dg.DagsterInstance, assets: Mapping[dg.AssetKey, Any]) -> dict[str, Any]:
    """What Dagster says of all partitions of *assets*, with their definitions: from its cache, and computed again.

    Each is the materialized, the failed and the running keys. Both must be the same.
    """
    found = {}
    for key, partitions_def in assets.items():
        get_and_update_asset_status_cache_value(instance, key, partitions_def)
        cached = _subsets(instance, key, partitions_def)
        instance.wipe_asset_cached_status([key])
        get_and_update_asset_status_cache_value(instance, key, partitions_def)
        anew = _subsets(instance, key, partitions_def)
        assert cached == anew, key
        found[key.to_user_string()] = anew
    return found


def _subsets(instance: dg.DagsterInstance, key: dg.AssetKey, partitions_def: Any) -> list[list[str]]:
    context = LoadingContextForTest(instance)
    subsets = asyncio.run(get_partition_subsets(instance, context, key, instance, partitions_def))
    return [sorted(subset.get_partition_keys()) if subset else [] for subset in subsets]


def shown_by_the_ui(instance: dg.DagsterInstance, module: str) -> Any:
    """What the webserver's GraphQL answers about the assets of *module*."""

    async def ask(context: WorkspaceProcessContext) -> Any:
        app = SameOriginWebserver(context, "").create_asgi_app()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            return (await client.post("/graphql", json={"query": GRAPHQL}, timeout=60)).json()

    with WorkspaceProcessContext(instance, ModuleTarget(module, None, None, "pruned")) as context:
        answer = asyncio.run(ask(context))
    assert "errors" not in answer, answer["errors"]
    return answer["data"]
