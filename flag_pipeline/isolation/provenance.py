"""A partition's version tags, as Dagster writes them for a plain asset.

Without them the UI shows wrong staleness.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import dagster as dg

from flag_pipeline.isolation.dagster_private import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    NULL_EVENT_POINTER,
    SKIP_PARTITION_DATA_VERSION_DEPENDENCY_THRESHOLD,
    MultiPartitionKey,
    compute_logical_data_version,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
    get_tags_from_multi_partition_key,
    infer_partition_mapping,
    input_version_info,
    latest_data_versions,
)
from flag_pipeline.isolation.outcomes import Result
from flag_pipeline.isolation.step import Step


class Version(NamedTuple):
    """A data version, and the storage id of the latest considered event."""

    data_version: str
    storage_id: int | None


# By asset and partition key, those of one batch.
Recorded = Mapping[dg.AssetKey, Mapping[str, Version]]


@dataclass(frozen=True, slots=True)
class Upstream:
    """An upstream asset when the step started.

    Attributes:
        latest: of any partition.
        by_partition: data versions by partition key; None without partitions.
        mapping: from this step's partitions to upstream ones; None if they are the same.
    """

    step: Step
    asset_key: dg.AssetKey
    latest: Version
    by_partition: Mapping[str, str] | None
    partitions_def: dg.PartitionsDefinition[Any] | None
    mapping: dg.PartitionMapping | None

    @classmethod
    def read(cls, step: Step, asset_key: dg.AssetKey) -> "Upstream":
        """Read the asset's versions in one or two queries."""
        info = input_version_info(step.execution, asset_key)
        version = (info and info.data_version) or DEFAULT_DATA_VERSION
        partitions_def = step.execution.job_def.asset_layer.get(asset_key).partitions_def
        chosen = step.assets_def.get_partition_mapping_for_dep(asset_key)
        is_same = chosen is None and partitions_def == step.partitions_def
        return cls(
            step,
            asset_key,
            Version(version.value, info.storage_id if info else None),
            None if partitions_def is None or info is None else latest_data_versions(step.instance, asset_key),
            partitions_def,
            None if is_same else infer_partition_mapping(chosen, step.partitions_def, partitions_def),
        )

    def version_for(self, partition_key: str) -> Version:
        """Return the version that Dagster records in a run of that partition alone."""
        if self.by_partition is None:
            return self.latest
        keys = self.keys_for(partition_key)
        if len(keys) >= SKIP_PARTITION_DATA_VERSION_DEPENDENCY_THRESHOLD:
            return self.latest  # like Dagster, because it would query all partitions
        versions = [self.by_partition[key] for key in sorted(keys) if key in self.by_partition]
        # Dagster hashes the version of a single partition too.
        return Version(sha256("".join(versions).encode()).hexdigest(), self.latest.storage_id)

    def keys_for(self, partition_key: str) -> Collection[str]:
        """Return the upstream partitions of a partition of this step."""
        if self.mapping is None or self.partitions_def is None:
            return [partition_key]
        with dg.partition_loading_context(dynamic_partitions_store=self.step.instance):
            subset = self.step.partitions_def.subset_with_partition_keys([partition_key])
            mapped = self.mapping.get_upstream_mapped_partitions_result_for_partitions(
                subset, self.step.partitions_def, self.partitions_def
            )
        return list(mapped.partitions_subset.get_partition_keys())


class Provenance:
    """Makes the version tags of a step's partitions; created before they run."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._parents = {key: step.parents(key) for key in step.assets.selected}
        before = set().union(*self._parents.values()) - set(step.assets.selected)
        itself = {key for key, parents in self._parents.items() if key in parents}
        self.upstreams = {key: Upstream.read(step, key) for key in before | itself}

    def tags(self, asset_key: dg.AssetKey, key: str, result: Result, recorded: Recorded) -> dict[str, str]:
        """Return the tags of a materialization; *recorded* has the step's earlier assets."""
        layer = self._step.execution.job_def.asset_layer
        code_version = layer.get(asset_key).code_version or self._step.run_id
        inputs = {parent: self._input(parent, key, recorded) for parent in sorted(self._parents[asset_key])}
        tags = {CODE_VERSION_TAG: code_version}
        for parent, (version, storage_id) in inputs.items():
            tags[get_input_data_version_tag(parent)] = version
            tags[get_input_event_pointer_tag(parent)] = str(storage_id) if storage_id else NULL_EVENT_POINTER
        if result.data_version is not None:
            tags[DATA_VERSION_IS_USER_PROVIDED_TAG] = "true"
        tags[DATA_VERSION_TAG] = (
            result.data_version
            or compute_logical_data_version(
                code_version, {parent: dg.DataVersion(version) for parent, (version, _) in inputs.items()}
            )
        ).value
        return {**tags, **(get_tags_from_multi_partition_key(key) if isinstance(key, MultiPartitionKey) else {})}

    def _input(self, parent: dg.AssetKey, key: str, recorded: Recorded) -> Version:
        if parent in recorded:
            return recorded[parent][key]
        return self.upstreams[parent].version_for(key)
