"""Flags without Dagster: codes, models, presets, records, layout, one country's refresh."""
