"""The partitions of the flag assets: one per country."""

import dagster as dg

from flag_pipeline.settings import Settings, partition_codes


def country_partitions(settings: Settings) -> dg.StaticPartitionsDefinition:
    """Return one partition per country code."""
    return dg.StaticPartitionsDefinition(partition_codes(settings))


def partition_stretches(codes: list[str], *, max_per_run: int | None) -> list[tuple[str, str]]:
    """Return the first and last code of each run over *codes*."""
    size = max_per_run or len(codes)
    return [(codes[start], codes[min(start + size, len(codes)) - 1]) for start in range(0, len(codes), size)]
