"""The highest cost of a run: memory, requests and written bytes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flag_pipeline.core.countries import iso_codes
from flag_pipeline_tests.flag_server import FlagServer, answer, flag_url_path, metadata_url_path
from flag_pipeline_tests.samples import picture

LIMIT_MB = 200
# Refreshes all countries in another process and prints how far its memory grew beyond what the imports take.
MEASURE = """
import asyncio, json, sys
from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.presets import find_preset
from flag_pipeline.core.refresh import Refresher
from flag_pipeline.core.sink import FileSink
from flag_pipeline.core.flag_source import FlagSource, open_source_session
from flag_pipeline_tests.sweeping import sweep
from flag_pipeline.settings import load_settings
import PIL.Image
PIL.Image.init()

def peak_mb():
    # Not getrusage: its maximum starts with that of the process that started this one.
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024

async def main(settings):
    outcomes = []
    async def record(outcome):
        outcomes.append(str(getattr(outcome, "kind", "saved")))
    preset = find_preset(settings.source)
    async with open_source_session(preset.base_url, settings) as session, FileSink(settings.store) as sink:
        refresher = Refresher(FlagSource(session, preset, settings), sink)
        await sweep(iso_codes(), refresher, record, max_requests=settings.max_requests, timeout_s=600)
    return outcomes

settings = load_settings(source=sys.argv[1], store=sys.argv[2], timeout_s=150, read_timeout_s=150)
iso_codes()
before_mb = peak_mb()
outcomes = asyncio.run(main(settings))
kinds = {kind: outcomes.count(kind) for kind in set(outcomes)}
print(json.dumps({"grown_mb": peak_mb() - before_mb, "kinds": kinds}))
"""


def padded_png(size: tuple[int, int], to_bytes: int) -> bytes:
    """A complete PNG of many pixels, padded to nearly the maximum body with a chunk that viewers skip."""
    import zlib

    image = picture("PNG", size=size, mode="RGBA")
    end = image[-12:]
    padding = b"\0" * (to_bytes - len(image) - 12)
    chunk = b"flAg" + padding
    return image[:-12] + len(padding).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + end


def padded_metadata(code: str, to_bytes: int) -> bytes:
    """A complete document, padded to nearly the maximum body with another key."""
    document = {"country": f"Name of {code}", "iso_cc": code, "more": ""}
    document["more"] = "x" * (to_bytes - len(json.dumps(document)))
    return json.dumps(document).encode()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells its peak of memory there")
@pytest.mark.timeout(180)
def test_memory_is_bounded_while_every_body_is_just_under_the_cap(flag_server: FlagServer, tmp_path: Path) -> None:
    """There are 498 bodies of 1 MB for 249 countries, and some images have nearly the maximum of pixels."""
    cap = 1_048_576
    small, large = (answer(200, padded_png(size, cap - 1)) for size in ((400, 300), (2000, 1990)))
    for number, code in enumerate(iso_codes()):
        flag_server.script(flag_url_path(code), [small if number % 20 else large])
        flag_server.script(metadata_url_path(code), [answer(200, padded_metadata(code, cap - 1))])

    program = [sys.executable, "-c", MEASURE, flag_server.url, str(tmp_path / "store")]
    measured = json.loads(subprocess.run(program, capture_output=True, text=True, check=True).stdout)

    assert measured["kinds"] == {"saved": 249}
    assert measured["grown_mb"] < LIMIT_MB
