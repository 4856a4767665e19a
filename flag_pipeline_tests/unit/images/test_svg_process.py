"""The program that draws SVGs, run in the test's own process."""

import io
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from flag_pipeline.images import svg_process
from flag_pipeline.images.svg_process import ANSWER, READY, REQUEST, serve
from flag_pipeline_tests.svgs import svg

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGPROF)


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Put the handlers of pytest back."""
    handlers = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, handlers, strict=True):
        signal.signal(number, handler)


def test_each_request_has_one_answer() -> None:
    """A PNG, or the reason why there is none."""
    contents = [svg(), b"<svg", svg()[:-3], b"\xff", b"\xef\xbb\xbf" + svg()]
    requests = b"".join(REQUEST.pack(16, 0, 5.0, len(content)) + content for content in contents)
    answers = io.BytesIO()

    serve(io.BytesIO(requests), answers, max_memory_bytes=resource.getrlimit(resource.RLIMIT_AS)[1])

    answers.seek(0)
    assert answers.read(len(READY)) == READY
    drawn = []
    for _ in contents:
        is_drawn, n_bytes = ANSWER.unpack(answers.read(ANSWER.size))
        body = answers.read(n_bytes)
        assert body.startswith(b"\x89PNG") == is_drawn
        drawn.append(is_drawn)
    assert drawn == [True, False, False, False, True]
    assert not answers.read()


def test_the_program_loads_nothing_of_the_package() -> None:
    """Neither Dagster nor Pillow: it starts in a fraction of a second."""
    program = f"import runpy, sys\nrunpy.run_path({svg_process.__file__!r})\nprint(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert not {name.split(".")[0] for name in loaded} & {"flag_pipeline", "dagster", "PIL"}
