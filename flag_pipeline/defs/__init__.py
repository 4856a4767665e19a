"""What Dagster sees: thin definitions around the core."""
