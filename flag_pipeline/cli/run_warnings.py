"""Collects the package's warnings during a run, to report them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collecting_warnings(messages: list[str]) -> Iterator[None]:
    """Add the warnings of the package's loggers to *messages*.

    Python would print them on standard error, which is hidden during a run.
    """
    handler = _Collector(messages)
    package = logging.getLogger("flag_pipeline")
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)


class _Collector(logging.Handler):
    """Collects warnings only, because the countries' outcomes have the errors."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self._messages.append(record.getMessage())
