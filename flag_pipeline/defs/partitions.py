"""The partitions of the flag assets: one static dimension, the countries."""

import dagster as dg

from flag_pipeline.settings import Settings, partition_codes


def country_partitions(settings: Settings) -> dg.StaticPartitionsDefinition:
    """One partition a country, keyed by its code."""
    return dg.StaticPartitionsDefinition(partition_codes(settings))


def partition_stretches(codes: list[str], *, most: int | None) -> list[tuple[str, str]]:
    """Return first and last code of each run that covers *codes*, with at most *most* codes a run."""
    size = most or len(codes)
    return [(codes[start], codes[min(start + size, len(codes)) - 1]) for start in range(0, len(codes), size)]
