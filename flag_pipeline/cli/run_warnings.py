"""What the package itself warns of during a run, gathered for the report."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collecting_warnings(messages: list[str]) -> Iterator[None]:
    """Add to *messages* what the package's loggers warn of inside the block.

    Python prints a warning that no handler takes on standard error, which is not shown during a run.
    """
    handler = _Collector(messages)
    package = logging.getLogger("flag_pipeline")
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)


class _Collector(logging.Handler):
    """Collects warnings; errors are told by the outcomes of the countries."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Take the message of a warning."""
        if record.levelno == logging.WARNING:
            self._messages.append(record.getMessage())
