"""The sensors: what happens by itself."""

import dagster as dg

from flag_pipeline.defs.ledger import FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY

catalog_automation = dg.AutomationConditionSensorDefinition(
    "catalog_automation",
    target=dg.AssetSelection.assets(FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Rebuilds the catalog, the history and the pictures when a flag or a name has changed.",
)
