"""The command line: options, commands, rendering, and Dagster runs in this process."""
