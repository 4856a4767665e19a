"""The Dagster UI: its web server with a same-origin check, and the processes of `flag-pipeline ui`."""
