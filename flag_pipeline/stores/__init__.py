"""Stores of whole files (local folder, S3, fsspec) and the batch executor."""
