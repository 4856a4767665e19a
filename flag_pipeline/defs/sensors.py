"""The sensors: what happens by itself."""

import dagster as dg

from flag_pipeline.defs.ledger import FLAG_CATALOG, FLAG_CHANGES

catalog_automation = dg.AutomationConditionSensorDefinition(
    "catalog_automation",
    target=dg.AssetSelection.assets(FLAG_CATALOG, FLAG_CHANGES),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Rebuilds the catalog and the history when a flag or a name has changed.",
)
