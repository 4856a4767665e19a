"""The Dagster UI: its webserver, and the processes of `flag-pipeline ui`."""
