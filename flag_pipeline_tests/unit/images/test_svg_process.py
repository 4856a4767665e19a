"""The program that draws SVGs, run in the test's own process."""

import subprocess
import sys

import pytest

from flag_pipeline.images.svg_process import DRAWN, FAILED, SIZE, answer
from flag_pipeline_tests.svgs import svg


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (svg(), DRAWN + b"\x89PNG"),
        (b"\xef\xbb\xbf" + svg(), DRAWN + b"\x89PNG"),
        (b"<svg", FAILED),
        (svg()[:-3], FAILED),
        (b"\xff", FAILED),
    ],
)
def test_answer_is_a_png_or_the_reason(content: bytes, start: bytes) -> None:
    """A damaged SVG is no reason to end."""
    assert answer(SIZE.pack(16, 0) + content).startswith(start)


def test_the_program_loads_next_to_nothing() -> None:
    """Neither Dagster nor Pillow: it starts in a fraction of a second."""
    program = "import flag_pipeline.images.svg_process, sys\nprint(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert not {name.split(".")[0] for name in loaded} & {"dagster", "PIL", "pydantic", "asyncio", "aiohttp"}
