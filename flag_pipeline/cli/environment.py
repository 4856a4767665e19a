"""Variables from `.env` in the current folder, the file that `dagster` and `dg` read too."""

import os
from pathlib import Path

from flag_pipeline.errors import ConfigurationError


def read_env_file() -> None:
    """Set the variables of `.env` that are unset or empty."""
    path = Path.cwd() / ".env"
    if not path.exists():
        return
    from dotenv import dotenv_values

    try:
        values = dotenv_values(path)
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path} is not UTF-8: save it in that encoding") from exc
    for name, value in values.items():
        if value is not None and not os.environ.get(name):
            os.environ[name] = value
