"""The partitions of the flag assets: one static dimension, the countries."""

import dagster as dg

from flag_pipeline.settings import Settings, partition_codes


def country_partitions(settings: Settings) -> dg.StaticPartitionsDefinition:
    """Return one partition for each country, keyed by its code."""
    return dg.StaticPartitionsDefinition(partition_codes(settings))


def partition_stretches(codes: list[str], *, max_per_run: int | None) -> list[tuple[str, str]]:
    """Return first and last code of each run that covers *codes*, with at most *max_per_run* codes a run."""
    size = max_per_run or len(codes)
    return [(codes[start], codes[min(start + size, len(codes)) - 1]) for start in range(0, len(codes), size)]
