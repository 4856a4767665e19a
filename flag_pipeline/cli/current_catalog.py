"""Whether the catalog must be rebuilt after a run, and the check that is due if not."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from flag_pipeline.catalog.built import describe_inputs, is_built_from
from flag_pipeline.catalog.history import CHANGES_SCHEMA
from flag_pipeline.catalog.rows import CATALOG_SCHEMA
from flag_pipeline.core.layout import CATALOG
from flag_pipeline.defs.checks import FRESH, CheckLimits, check_age
from flag_pipeline.defs.keys import CODE_VERSION, FLAG_CATALOG, FLAG_GALLERY
from flag_pipeline.images.inspection import DERIVED_VERSION
from flag_pipeline.settings import Settings, partition_codes


def catalog_inputs(settings: Settings) -> str:
    """Return the digest of the catalog's inputs; empty if the store cannot tell."""
    package = importlib.metadata.version("flag-pipeline")
    code = (package, CODE_VERSION, CATALOG_SCHEMA.version, CHANGES_SCHEMA.version, DERIVED_VERSION)
    return describe_inputs(settings.store, (*code, *settings.renditions, *partition_codes(settings)))


@dataclass(frozen=True, slots=True)
class CurrentCatalog:
    """A catalog that need not be rebuilt, by its latest materialization."""

    record: dg.EventLogRecord

    @property
    def n_rows(self) -> int:
        """Number of countries."""
        return int(str(_metadata(self.record)["dagster/row_count"].value))

    def report_age(self, instance: dg.DagsterInstance, settings: Settings) -> None:
        """Evaluate the check that can change while the store stays the same."""
        result = check_age(partition_codes(settings), instance=instance, limits=CheckLimits.from_settings(settings))
        target = AssetCheckEvaluationTargetMaterializationData(
            storage_id=self.record.storage_id, run_id=self.record.run_id, timestamp=self.record.timestamp
        )
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=FLAG_CATALOG,
                check_name=FRESH,
                passed=result.passed,
                metadata=result.metadata,
                severity=result.severity,
                target_materialization_data=target,
            )
        )


def find_current_catalog(instance: dg.DagsterInstance, settings: Settings, inputs: str) -> CurrentCatalog | None:
    """Return the catalog if store and instance have it and its page as built from *inputs*."""
    catalog, page = (instance.fetch_materializations(key, limit=1).records for key in (FLAG_CATALOG, FLAG_GALLERY))
    # One instance can have several stores.
    if not (catalog and page) or _metadata(catalog[0])["files"].value != f"{settings.store}/{CATALOG}":
        return None
    return CurrentCatalog(catalog[0]) if is_built_from(settings.store, inputs) else None


def _metadata(record: dg.EventLogRecord) -> Mapping[str, dg.MetadataValue[Any]]:
    materialization = record.asset_materialization
    return materialization.metadata if materialization else {}
