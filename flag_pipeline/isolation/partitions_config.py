"""How a run names a list of partitions."""

import dagster as dg
from pydantic import Field


class PartitionsConfig(dg.Config):
    """The configuration of an asset whose runs may be for a scattered list of partitions."""

    partition_keys: list[str] = Field(
        default=[],
        description="Partitions for a run that is launched without any: however scattered, they are one run.",
    )
