"""The exceptions of flag_pipeline, one class per meaning.

FlagPipelineError
    ConfigurationError
    ProcessEndedError
    SourceError
        TransientSourceError
        SourceDownError
        FlagNotFoundError
        SourceContractError
    ImageError
    LocalError
    ReleaseError
    SinkError
        UnusableFileError
            ForeignFileError

Reports count errors by `kind`. Errors of libraries and the system are converted where they arise, with the cause
chained. A message is one printable line, because it can quote a response.
"""

from enum import StrEnum
from typing import Any, Self


class ErrorKind(StrEnum):
    """The reason of a failure."""

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
        """Whether a later attempt can succeed without a change."""
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
    """Return *text* with control and invisible characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class FlagPipelineError(Exception):
    """Base class of these errors."""

    kind: ErrorKind = ErrorKind.UNEXPECTED

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickling passes only the message, and some classes require more.
        return (_unpickle, (type(self), str(self)), self.__dict__.copy())


def _unpickle(cls: type[FlagPipelineError], message: str) -> FlagPipelineError:
    error = cls.__new__(cls)
    error.args = (message,)
    return error


def error_class(name: str) -> type[FlagPipelineError] | None:
    """Return the error class called *name*, if any.

    Dagster serialises only an exception's class name and message.
    """
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, FlagPipelineError) else None


class ConfigurationError(FlagPipelineError):
    """A setting, an argument or a launch that cannot work. Nothing was fetched or written."""

    kind = ErrorKind.CONFIGURATION


class ProcessEndedError(FlagPipelineError):
    """A process of `flag-pipeline ui` exited."""


class SourceError(FlagPipelineError):
    """A country that could not be fetched."""

    def __init__(self, message: str, *, code: str, url: str) -> None:
        super().__init__(message)
        self.code = code
        self.url = url
        self.attempts = 1

    def after(self, attempts: int) -> Self:
        """Set the number of attempts; return the error."""
        self.attempts = attempts
        return self


class TransientSourceError(SourceError):
    """A timeout, a dropped connection, 429, 5xx, or too many open files. It is retried.

    `retry_after_s` is the server's `Retry-After`.
    """

    def __init__(
        self, message: str, *, code: str, url: str, kind: ErrorKind, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, code=code, url=url)
        self.kind = kind
        self.retry_after_s = retry_after_s


class SourceDownError(SourceError):
    """The host is unreachable, so this run sends it no more requests."""

    kind = ErrorKind.SOURCE_DOWN


class FlagNotFoundError(SourceError):
    """The source does not have this country (404, 410)."""

    kind = ErrorKind.NOT_FOUND


class SourceContractError(SourceError):
    """An invalid response: other 4xx, not an image, bad metadata, too large."""

    kind = ErrorKind.CONTRACT


class ImageError(FlagPipelineError):
    """Bytes that are no image, or one that is damaged or too slow to decode."""

    kind = ErrorKind.CONTRACT


class LocalError(FlagPipelineError):
    """The machine is out of open files or memory, or its disk fails."""

    kind = ErrorKind.LOCAL


class ReleaseError(FlagPipelineError):
    """Files of the store that do not fit together, so no release can be made."""

    kind = ErrorKind.SINK


class SinkError(FlagPipelineError):
    """The store failed to read or write the file at `path`."""

    kind = ErrorKind.SINK

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class UnusableFileError(SinkError):
    """One file of the store cannot be read or replaced."""


class ForeignFileError(UnusableFileError):
    """The file is a folder or too large. The next save replaces it."""
