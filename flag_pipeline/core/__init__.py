"""The flags themselves: codes, models, presets, records, layout, one country's refresh. Knows nothing of Dagster."""
