"""The exceptions: what they carry, and that nothing hostile leaves through their messages."""

import pickle

import pytest
from dagster._utils.error import serializable_error_info_from_exc_info

from flag_pipeline.errors import (
    ConfigurationError,
    ErrorKind,
    FlagPipelineError,
    ForeignFileError,
    SinkError,
    SourceDownError,
    TransientSourceError,
    error_class,
    printable,
)


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("no"),
        SinkError("full", path="flags/CN.gif"),
        SourceDownError("away", code="CN", url="http://x").after(3),
        TransientSourceError("busy", code="CN", url="http://x", kind=ErrorKind.THROTTLED, retry_after_s=7),
    ],
)
def test_errors_survive_pickling(error: FlagPipelineError) -> None:
    """An error that comes back from another process has its message and all that it carries."""
    revived = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (type(revived), str(revived), vars(revived)) == (type(error), str(error), vars(error))


def test_message_is_one_printable_line() -> None:
    """Escape sequences, line breaks and characters that reorder text are shown, not obeyed."""
    error = SinkError("\x1b[31mred\r\nname \u202eevil\u200b é 中", path="x")

    assert str(error) == r"\x1b[31mred\r\nname \u202eevil\u200b é 中"


def test_class_of_an_error_that_dagster_serialised() -> None:
    """The name that Dagster keeps leads back to the class, so that subclasses count too; other names lead to None."""
    with pytest.raises(ForeignFileError) as caught:
        raise ForeignFileError("a folder is in its place", path="records/CN.json")
    serialised = serializable_error_info_from_exc_info((caught.type, caught.value, caught.tb))

    assert serialised.cls_name is not None
    assert error_class(serialised.cls_name) is ForeignFileError
    assert [error_class(name) for name in ("ValueError", "ErrorKind", "printable", "")] == [None] * 4


def test_lone_surrogates_can_be_printed() -> None:
    """What is no text at all becomes text that every encoding takes."""
    assert printable("\udcff").encode() == rb"\udcff"


def test_kinds_that_waiting_may_mend() -> None:
    """Asking again later helps where nothing but time is needed."""
    assert {kind for kind in ErrorKind if kind.is_transient} == {
        ErrorKind.TIMEOUT,
        ErrorKind.CONNECTION,
        ErrorKind.THROTTLED,
        ErrorKind.SERVER_ERROR,
        ErrorKind.SOURCE_DOWN,
        ErrorKind.SINK,
        ErrorKind.LOCAL,
    }
