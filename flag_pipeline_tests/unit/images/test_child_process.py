"""The child's side of a child process, run in the test's own process. `test_svg_renderer` has the parent's side."""

import io
import signal
from collections.abc import Iterator

import pytest

from flag_pipeline.images.child_process import ANSWER, READY, REQUEST, serve

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGPROF)


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Put the handlers of pytest back."""
    handlers = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, handlers, strict=True):
        signal.signal(number, handler)


def test_each_request_has_one_answer() -> None:
    """They come in order, after the sign that the process is ready, and empty ones are answered too."""
    requests = b"".join(REQUEST.pack(5.0, len(body)) + body for body in (b"ab", b"", b"c" * 100_000))
    answers = io.BytesIO()

    serve(bytes.upper, io.BytesIO(requests), answers)

    expected = b"".join(ANSWER.pack(len(body)) + body for body in (b"AB", b"", b"C" * 100_000))
    assert answers.getvalue() == READY + expected


def test_only_an_answer_costs_processor_time() -> None:
    """The timer runs while a request is answered, and not while the process waits for the next one."""
    running: list[bool] = []

    def answer(_request: bytes) -> bytes:
        running.append(signal.getitimer(signal.ITIMER_PROF)[0] > 0)
        return b""

    serve(answer, io.BytesIO(REQUEST.pack(50.0, 0)), io.BytesIO())

    assert running == [True]
    assert signal.getitimer(signal.ITIMER_PROF)[0] == 0
