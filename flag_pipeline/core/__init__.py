"""What knows HTTP, files and images; nothing in here knows Dagster."""
