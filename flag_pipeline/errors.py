"""The exceptions of flag_pipeline, one class per meaning.

FlagPipelineError
├── ConfigurationError           a setting, an argument or a launch that cannot work
├── ProcessEndedError            a process of `flag-pipeline ui` has ended by itself
├── SourceError                  something about one country's answer; carries code and url
│   ├── TransientSourceError     may heal by itself: the only one that is retried
│   ├── SourceDownError          the host cannot be reached: nothing more is asked of it
│   ├── FlagNotFoundError        the source has no such country (404, 410)
│   └── SourceContractError      an answer that breaks the source's contract
├── ImageError                   bytes that are no acceptable picture, wherever they come from
├── LocalError                   this computer has no files, no memory or no working disk left
└── SinkError                    the store refused: disk full, a bad path
    └── UnusableFileError        one file of the store, not the others: no permission, a folder in its place
        └── ForeignFileError     it is a folder or too large, so it gives way to the next file that is saved

Every error has a `kind`, the word that reports count by. Errors of aiohttp, Pillow and the
operating system are translated into these where they enter, with the cause chained. A message
is one printable line: it may quote what came from the network, and it reaches logs and terminals.
"""

from enum import StrEnum
from typing import Any, Self


class ErrorKind(StrEnum):
    """Why a country failed, in one word."""

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
        """Whether asking again later can help without anybody changing anything."""
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
    """Return *text* with escapes for whatever would steer a terminal, break a line or hide."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class FlagPipelineError(Exception):
    """Base of every error that flag_pipeline raises on purpose."""

    kind: ErrorKind = ErrorKind.UNEXPECTED

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickling by arguments would call the subclass without what it requires.
        return (_revive, (type(self), str(self)), self.__dict__.copy())


def _revive(cls: type[FlagPipelineError], message: str) -> FlagPipelineError:
    error = cls.__new__(cls)
    error.args = (message,)
    return error


class ConfigurationError(FlagPipelineError):
    """A setting, an argument or a launch that cannot work; nothing was asked or written."""

    kind = ErrorKind.CONFIGURATION


class ProcessEndedError(FlagPipelineError):
    """A process that should run until it is stopped has ended by itself."""


class SourceError(FlagPipelineError):
    """A country's answer that cannot be used."""

    def __init__(self, message: str, *, code: str, url: str) -> None:
        super().__init__(message)
        self.code = code
        self.url = url
        self.attempts = 1

    def after(self, attempts: int) -> Self:
        """Note how many requests were made before giving up, and return the error."""
        self.attempts = attempts
        return self


class TransientSourceError(SourceError):
    """A failure that may heal by itself: a timeout, a cut connection, 429 or 5xx, or too few open files here.

    Attributes:
        retry_after_s: how long the server asks to be left alone, if it said so.
    """

    def __init__(
        self, message: str, *, code: str, url: str, kind: ErrorKind, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, code=code, url=url)
        self.kind = kind
        self.retry_after_s = retry_after_s


class SourceDownError(SourceError):
    """No connection to the source's host could be opened for so long that it is given up for this run."""

    kind = ErrorKind.SOURCE_DOWN


class FlagNotFoundError(SourceError):
    """The source says that it does not have this country (404 or 410)."""

    kind = ErrorKind.NOT_FOUND


class SourceContractError(SourceError):
    """An answer that no retry will mend: other 4xx, not an image, bad metadata, too big."""

    kind = ErrorKind.CONTRACT


class ImageError(FlagPipelineError):
    """Bytes that are no picture, a damaged one, or one that is too much work to decode."""

    kind = ErrorKind.CONTRACT


class LocalError(FlagPipelineError):
    """The computer has run out of open files or memory, or its disk fails."""

    kind = ErrorKind.LOCAL


class SinkError(FlagPipelineError):
    """The store refused to read or write.

    Attributes:
        path: what could not be read or written.
    """

    kind = ErrorKind.SINK

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class UnusableFileError(SinkError):
    """One file of the store cannot be read or replaced; that says nothing about the other files."""


class ForeignFileError(UnusableFileError):
    """What is in the file's place is a folder, or larger than the file can be: the next save puts it right."""
