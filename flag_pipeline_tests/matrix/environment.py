"""The settings of this process while a case is tried."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Have these settings, and no others, in this process."""
    with pytest.MonkeyPatch.context() as patched:
        for name in list(os.environ):
            if name.startswith(("FLAG_", "DAGSTER_")):
                patched.delenv(name)
        for name, value in values.items():
            patched.setenv(name, value)
        yield
