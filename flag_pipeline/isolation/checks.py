"""Results of asset checks that partitions' functions return.

Dagster keeps one evaluation per run of an unpartitioned check, so results are merged.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg

from flag_pipeline.isolation.dagster_private import AssetCheckEvaluationTargetMaterializationData
from flag_pipeline.isolation.outcomes import Delivered
from flag_pipeline.isolation.step import Step

NAMED = 1_000


@dataclass(slots=True)
class Tally:
    """The severity of one check's result by key, None if it passed."""

    severities: dict[str, dg.AssetCheckSeverity | None] = field(default_factory=dict)

    def add(self, key: str, result: dg.AssetCheckResult) -> None:
        """Replace the partition's result."""
        self.severities[key] = None if result.passed else result.severity

    @property
    def failed(self) -> list[str]:
        """Keys of the partitions that did not pass."""
        return [key for key, severity in self.severities.items() if severity is not None]

    @property
    def has_errors(self) -> bool:
        """Whether a partition failed with severity ERROR."""
        return dg.AssetCheckSeverity.ERROR in self.severities.values()


class CheckResults:
    """The check results of one step."""

    def __init__(self, step: Step) -> None:
        self._step = step
        selected = step.context.selected_asset_check_keys
        self._specs = {spec.key: spec for spec in step.assets_def.check_specs if spec.key in selected}
        self._names = defaultdict[dg.AssetKey, set[str]](set)
        for spec in step.assets_def.node_check_specs_by_output_name.values():
            self._names[spec.asset_key].add(spec.name)
        self._tallies = defaultdict[dg.AssetCheckKey, Tally](Tally)

    def validate(self, delivered: Delivered) -> None:
        """Raise `dg.DagsterInvariantViolationError` if a result is of an unknown check."""
        for asset_key, result in delivered.results.items():
            for check_result in result.check_results:
                self._key(asset_key, check_result)

    def add(self, batch: Sequence[Delivered]) -> dict[dg.AssetKey, list[dg.AssetCheckEvaluation]]:
        """Count the results, and return the evaluations of partitioned checks by asset."""
        evaluations = defaultdict[dg.AssetKey, list[dg.AssetCheckEvaluation]](list)
        for delivered in batch:
            for asset_key, result in delivered.results.items():
                for check_result in result.check_results:
                    spec = self._specs.get(self._key(asset_key, check_result))
                    if spec is None:
                        continue  # not selected
                    self._tallies[spec.key].add(delivered.key, check_result)
                    if spec.partitions_def is not None:
                        evaluations[asset_key].append(self._evaluation(spec, delivered.key, check_result))
        return evaluations

    def _key(self, asset_key: dg.AssetKey, result: dg.AssetCheckResult) -> dg.AssetCheckKey:
        names = {asset_key: self._names[asset_key]} if self._names[asset_key] else {}
        return result.resolve_target_check_key(names)

    def _evaluation(self, spec: dg.AssetCheckSpec, key: str, result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
        wanted = dg.AssetRecordsFilter(asset_key=spec.asset_key, asset_partitions=[key])
        record = self._step.instance.fetch_materializations(wanted, limit=1).records[0]
        return dg.AssetCheckEvaluation(
            asset_key=spec.asset_key,
            check_name=spec.name,
            passed=result.passed,
            metadata=result.metadata,
            target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            ),
            severity=result.severity,
            description=result.description,
            blocking=spec.blocking,
            partition=key,
        )

    def blocking(self) -> dict[str, list[str]]:
        """Return failed partitions by blocking check."""
        return {
            key.name: sorted(tally.failed)
            for key, tally in self._tallies.items()
            if tally.has_errors and self._specs[key].blocking
        }

    def evaluations(self) -> Iterator[dg.AssetCheckEvaluation]:
        """Yield one evaluation per unpartitioned check. None blocks, because the step fails."""
        for key, tally in self._tallies.items():
            if self._specs[key].partitions_def is None:
                is_error = tally.has_errors or not tally.failed
                yield dg.AssetCheckEvaluation(
                    asset_key=key.asset_key,
                    check_name=key.name,
                    passed=not tally.failed,
                    severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
                    metadata={
                        "partitions": len(tally.severities),
                        "failed_partitions": dg.MetadataValue.json(sorted(tally.failed)[:NAMED]),
                    },
                    blocking=False,
                )

    def outputs(self) -> Iterator[dg.Output[None]]:
        """Yield the outputs of the selected checks, which downstream steps need."""
        for key in self._specs:
            yield dg.Output(None, output_name=self._step.assets_def.get_output_name_for_asset_check_key(key))
