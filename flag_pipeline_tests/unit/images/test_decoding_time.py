"""Thousands of damaged JPEGs, and the slowest pictures: each takes no more processor time than the design states."""

import io
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest
from PIL import Image

from flag_pipeline.core.presets import ANY_FORMAT
from flag_pipeline.errors import ImageError
from flag_pipeline.images.features import describe_features
from flag_pipeline.images.inspection import inspect_image
from flag_pipeline.images.structure import MAX_DECODING_S, Limits
from flag_pipeline_tests.pictures import (
    code_tables,
    encoded,
    exif,
    gif_frame,
    gif_of,
    png,
    scans,
    segment,
    with_segment,
)
from flag_pipeline_tests.samples import picture

SEED = 16
Mutation = Callable[[random.Random, bytes], bytes]


@cache
def originals() -> tuple[bytes, ...]:
    """JPEGs of every kind that browsers show, small ones and one at the limits."""
    noise = Image.effect_noise((120, 80), 60)
    flag = Image.merge("RGB", [noise, noise.transpose(Image.Transpose.ROTATE_180), noise])
    return (
        encoded(flag, "JPEG"),
        encoded(flag, "JPEG", progressive=True, quality=90),
        encoded(flag, "JPEG", progressive=True, restart_marker_blocks=1),
        encoded(flag.convert("CMYK"), "JPEG", progressive=True),
        encoded(noise, "JPEG", progressive=True, subsampling=2),
        with_segment(encoded(flag, "JPEG"), 0xE1, b"Exif\0\0" + exif(6)),
        picture("MPO", size=(64, 32), frames=3),
        scans(60, side=256),
    )


def flip_bytes(chance: random.Random, jpeg: bytes) -> bytes:
    """Change some bytes anywhere."""
    changed = bytearray(jpeg)
    for _ in range(chance.choice((1, 3, 20))):
        changed[chance.randrange(len(changed))] = chance.choice((0, 0xFF, 0xDA, 0xD9, chance.randrange(256)))
    return bytes(changed)


def cut(chance: random.Random, jpeg: bytes) -> bytes:
    """Leave out, or put in, some bytes."""
    start = chance.randrange(len(jpeg))
    end = min(len(jpeg), start + chance.choice((1, 2, 50, 10_000)))
    return jpeg[:start] + chance.choice((b"", chance.randbytes(end - start), jpeg[start:end] * 2)) + jpeg[end:]


def repeat_scans(chance: random.Random, jpeg: bytes) -> bytes:
    """Repeat a scan, whole or in part, a few times or thousands of times."""
    starts = [at for at in range(len(jpeg)) if jpeg[at : at + 2] == b"\xff\xda"]
    start = chance.choice(starts)
    end = min([at for at in starts if at > start], default=len(jpeg) - 2)
    n_times = chance.choice((1, 10, 80, 99, 100, 101, 5000))
    scan = jpeg[start : min(end, start + chance.choice((14, 80, 10_000)))]
    return jpeg[:end] + (scan * n_times)[:900_000] + jpeg[end:]


def resize(chance: random.Random, jpeg: bytes) -> bytes:
    """Announce another size, up to that of the limits."""
    at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
    height, width = chance.choice(((2000, 2000), (61, 65_535), (65_535, 61), (1, 1), (0, 5), (65_535, 65_535)))
    return jpeg[: at + 5] + height.to_bytes(2) + width.to_bytes(2) + jpeg[at + 9 :]


def change_marker(chance: random.Random, jpeg: bytes) -> bytes:
    """Turn one marker into another one."""
    marks = [at for at in range(2, len(jpeg) - 1) if jpeg[at] == 0xFF and jpeg[at + 1] not in {0, 0xFF}]
    at = chance.choice(marks)
    return (
        jpeg[: at + 1]
        + bytes([chance.choice((0xC1, 0xC3, 0xC9, 0xCA, 0xDC, 0xDD, 0xD0, 0x01, 0xE1, 0xDA))])
        + jpeg[at + 2 :]
    )


def add_segment(chance: random.Random, jpeg: bytes) -> bytes:
    """Put a segment of nonsense somewhere between the others."""
    marks = [at for at in range(2, len(jpeg) - 1) if jpeg[at] == 0xFF and jpeg[at + 1] >= 0xC0]
    at = chance.choice(marks)
    more = segment(chance.choice((0xC4, 0xDB, 0xDD, 0xE1, 0xE2, 0xEE, 0xFE)), chance.randbytes(chance.randrange(80)))
    return jpeg[:at] + more + jpeg[at:]


MUTATIONS: tuple[Mutation, ...] = (flip_bytes, cut, repeat_scans, repeat_scans, resize, change_marker, add_segment)


def mutated(chance: random.Random) -> bytes:
    """A JPEG after one to three mutations."""
    jpeg = chance.choice(originals())
    for _ in range(chance.choice((1, 1, 2, 3))):
        mutation = chance.choice(MUTATIONS)
        # An earlier mutation may have left nothing that this one could change.
        if len(jpeg) > 20 and b"\xff\xda" in jpeg[2:-2]:
            jpeg = mutation(chance, jpeg)
    return jpeg


def check(jpeg: bytes) -> tuple[str, float]:
    """How the JPEG was received, and the processor time of the slowest step: whatever else is raised leaves."""
    started_s = time.thread_time()
    try:
        inspect_image(jpeg, formats=ANY_FORMAT, limits=Limits())
    except ImageError as exc:
        received = "too much" if "raise FLAG_" in str(exc) else "damaged"
    else:
        received = "accepted"
    inspected_s = time.thread_time() - started_s
    if received == "accepted":
        describe_features(jpeg)
    return received, max(inspected_s, time.thread_time() - started_s - inspected_s)


def check_many(n_jpegs: int, seed: int) -> None:
    """Check so many mutations, and print what came of them."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    counts: Counter[str] = Counter()
    slowest_s = 0.0
    for number in range(n_jpegs):
        jpeg = mutated(chance)
        try:
            received, took_s = check(jpeg)
        except Exception as exc:
            raise AssertionError(f"JPEG {number} of seed {seed}") from exc
        assert took_s <= MAX_DECODING_S, f"JPEG {number} of seed {seed} took {took_s:.2f} s"
        counts[received] += 1
        slowest_s = max(slowest_s, took_s)
    print(f"seed {seed}: {dict(counts)}, at most {slowest_s:.3f} s of processor time")  # noqa: T201
    assert set(counts) == {"accepted", "damaged", "too much"}


def test_mutated_jpegs_are_accepted_or_a_broken_contract() -> None:
    """300 of them, the same ones each time."""
    check_many(300, SEED)


@pytest.mark.matrix
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("default")
def test_ten_thousand_mutated_jpegs() -> None:
    """The seed is printed (`-s`), and `check_many(10_000, seed)` repeats it."""
    check_many(10_000, random.SystemRandom().randrange(10**6))


def slowest_scans() -> bytes:
    """Four million pixels in a hundred scans, each of which reads all coefficients: both limits at once."""
    return scans(100, side=2000)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(slowest_scans, id="scans"),
        pytest.param(lambda: with_segment(slowest_scans(), 0xDD, b"\0\1"), id="restarts"),
        pytest.param(lambda: b"\xff\xd8" + segment(0xFE) * 260_000 + picture("JPEG")[2:], id="comments"),
        pytest.param(lambda: b"\xff\xd8" + segment(0xDB) * 260_000 + picture("JPEG")[2:], id="tables"),
        pytest.param(lambda: picture("JPEG")[:-2] + b"\xff\x01" * 500_000 + b"\xff\xd9", id="markers"),
        pytest.param(lambda: code_tables(6), id="webp"),
        pytest.param(lambda: gif_of((1, 1), b"\x21\xfe" + b"\1x" * 500_000 + b"\0", gif_frame((0, 0, 1, 1))), id="gif"),
        pytest.param(lambda: png((2000, 2000), bits=16, colour=6, rows=(b"\4" + bytes(16_000)) * 2000), id="png"),
    ],
)
def test_slowest_pictures_within_the_limits_take_no_longer_than_stated(content: Callable[[], bytes]) -> None:
    """Each is accepted, so that its cost is the whole one."""
    received, took_s = check(content())

    assert received == "accepted"
    assert took_s <= MAX_DECODING_S


def animation(kind: str, n_frames: int, side: int) -> bytes:
    """An animation of noise."""
    chance = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    mode = "L" if kind == "GIF" else "RGB"
    frames = [Image.frombytes(mode, (8, 8), chance.randbytes(64 * len(mode))) for _ in range(n_frames)]
    frames = [frame.resize((side, side)) for frame in frames]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
@pytest.mark.parametrize(("n_frames", "side"), [(1, 2000), (500, 89)])
def test_other_formats_take_no_longer_than_stated(kind: str, n_frames: int, side: int) -> None:
    """Four million pixels, in one frame or in as many as are allowed."""
    received, took_s = check(animation(kind, n_frames, side))

    assert received == "accepted"
    assert took_s <= MAX_DECODING_S
