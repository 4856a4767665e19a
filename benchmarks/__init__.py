"""What flag_pipeline costs, measured: `uv run python -m benchmarks`."""
