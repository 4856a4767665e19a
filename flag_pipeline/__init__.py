"""Every country's flag, in one Dagster run in which each country succeeds or fails on its own."""
