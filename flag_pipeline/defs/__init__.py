"""What Dagster sees of the flags: assets, checks, jobs, schedules, sensors, resources."""
