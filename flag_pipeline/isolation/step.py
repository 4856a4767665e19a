"""Facts about the step that runs partitions."""

from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Any

import dagster as dg

from flag_pipeline.isolation.dagster_private import StepExecutionContext
from flag_pipeline.isolation.outcomes import Assets


@dataclass(frozen=True)
class Step:
    """The step's context, and its assets in recording order."""

    context: dg.AssetExecutionContext

    @cached_property
    def execution(self) -> StepExecutionContext:
        """Dagster's private context."""
        execution: StepExecutionContext = self.context.get_step_execution_context()
        return execution

    @property
    def instance(self) -> dg.DagsterInstance:
        """The run's instance."""
        instance: dg.DagsterInstance = self.context.instance
        return instance

    @cached_property
    def run_id(self) -> str:
        """The run's id."""
        return self.context.run.run_id

    @cached_property
    def assets_def(self) -> dg.AssetsDefinition:
        """The step's assets, selected or not."""
        assets_def: dg.AssetsDefinition = self.context.assets_def
        return assets_def

    @cached_property
    def partitions_def(self) -> dg.PartitionsDefinition[Any]:
        """The assets' partitions; raises `dg.Failure` if there are none."""
        partitions_def = self.assets_def.partitions_def
        if partitions_def is None:
            raise dg.Failure(
                f"{self.context.op_def.name} has no partitions: give its asset a partitions_def.", allow_retries=False
            )
        return partitions_def

    @cached_property
    def assets(self) -> Assets:
        """The selected assets, upstream first, and the others."""
        selected = self.context.selected_asset_keys
        graph = {key: self.parents(key) & selected - {key} for key in sorted(selected)}
        others = frozenset(self.assets_def.node_keys_by_output_name.values()) - selected
        return Assets(tuple(TopologicalSorter(graph).static_order()), others)

    def parents(self, asset_key: dg.AssetKey) -> set[dg.AssetKey]:
        """Return the assets that this one depends on."""
        return set(self.execution.job_def.asset_layer.get(asset_key).parent_keys)
