"""Stores of whole files: a local folder, S3, fsspec; and the batch executor. Knows nothing of flags."""
