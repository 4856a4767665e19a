"""The exceptions of flag_pipeline, one class per meaning.

FlagPipelineError
├── ConfigurationError           a setting, an argument or a launch that cannot work
├── ProcessEndedError            a process of `flag-pipeline ui` exited
├── SourceError                  one country could not be fetched; has code and url
│   ├── TransientSourceError     a retry may succeed; no other error is retried
│   ├── SourceDownError          the host is unreachable, so no more requests are sent to it
│   ├── FlagNotFoundError        the source does not have the country (404, 410)
│   └── SourceContractError      the response is invalid
├── ImageError                   the bytes are not an acceptable image
├── LocalError                   this machine is out of open files or memory, or its disk fails
└── SinkError                    the store failed: disk full, bad path
    └── UnusableFileError        one file of the store failed: no permission
        └── ForeignFileError     the file is a folder or too large; the next save replaces it

Every error has a `kind`, by which reports count. Errors of aiohttp, Pillow and the operating system are converted
where they are raised, with the cause chained. A message is one printable line, because it can quote a response and is
written to logs and terminals.
"""

from enum import StrEnum
from typing import Any, Self


class ErrorKind(StrEnum):
    """The reason of a failure, in one word."""

    CONFIGURATION = "configuration"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    SOURCE_DOWN = "source_down"
    NOT_FOUND = "not_found"
    UNAVAILABLE = "unavailable"
    CONTRACT = "contract"
    SINK = "sink"
    LOCAL = "local"
    UNEXPECTED = "unexpected"

    @property
    def is_transient(self) -> bool:
        """Whether a later attempt can succeed although nothing was changed."""
        return self in _TRANSIENT


_TRANSIENT = frozenset(
    {
        ErrorKind.TIMEOUT,
        ErrorKind.CONNECTION,
        ErrorKind.THROTTLED,
        ErrorKind.SERVER_ERROR,
        ErrorKind.SOURCE_DOWN,
        ErrorKind.SINK,
        ErrorKind.LOCAL,
    }
)


def printable(text: str) -> str:
    """Return *text* with escapes for control characters, line breaks and invisible characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class FlagPipelineError(Exception):
    """Base class of the errors that flag_pipeline raises."""

    kind: ErrorKind = ErrorKind.UNEXPECTED

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))

    def __reduce__(self) -> tuple[Any, ...]:
        # By default, unpickling calls the class with the message only, and some classes require more.
        return (_unpickle, (type(self), str(self)), self.__dict__.copy())


def _unpickle(cls: type[FlagPipelineError], message: str) -> FlagPipelineError:
    error = cls.__new__(cls)
    error.args = (message,)
    return error


def error_class(name: str) -> type[FlagPipelineError] | None:
    """Return the error class called *name*, None if there is none.

    Dagster serialises only an exception's class name and message; with the class, `issubclass` works again.
    """
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, FlagPipelineError) else None


class ConfigurationError(FlagPipelineError):
    """A setting, an argument or a launch that cannot work. Nothing was fetched or written."""

    kind = ErrorKind.CONFIGURATION


class ProcessEndedError(FlagPipelineError):
    """A process exited that should run until it is stopped."""


class SourceError(FlagPipelineError):
    """A country that could not be fetched."""

    def __init__(self, message: str, *, code: str, url: str) -> None:
        super().__init__(message)
        self.code = code
        self.url = url
        self.attempts = 1

    def after(self, attempts: int) -> Self:
        """Set the number of attempts, and return the error."""
        self.attempts = attempts
        return self


class TransientSourceError(SourceError):
    """A failure that a retry may fix: a timeout, a dropped connection, 429, 5xx, or too many open files.

    Attributes:
        retry_after_s: seconds to wait, as the server's `Retry-After` says; None without that header.
    """

    def __init__(
        self, message: str, *, code: str, url: str, kind: ErrorKind, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, code=code, url=url)
        self.kind = kind
        self.retry_after_s = retry_after_s


class SourceDownError(SourceError):
    """The source's host was unreachable for so long that this run sends it no more requests."""

    kind = ErrorKind.SOURCE_DOWN


class FlagNotFoundError(SourceError):
    """The source does not have this country (404 or 410)."""

    kind = ErrorKind.NOT_FOUND


class SourceContractError(SourceError):
    """An invalid response, which is not retried: other 4xx, not an image, bad metadata, too large."""

    kind = ErrorKind.CONTRACT


class ImageError(FlagPipelineError):
    """Bytes that are not an image, or an image that is damaged or takes too long to decode."""

    kind = ErrorKind.CONTRACT


class LocalError(FlagPipelineError):
    """The machine is out of open files or memory, or its disk fails."""

    kind = ErrorKind.LOCAL


class SinkError(FlagPipelineError):
    """The store failed to read or write.

    Attributes:
        path: the file that could not be read or written.
    """

    kind = ErrorKind.SINK

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class UnusableFileError(SinkError):
    """One file of the store cannot be read or replaced. Other files are not affected."""


class ForeignFileError(UnusableFileError):
    """The file is a folder or too large. The next save replaces it."""
