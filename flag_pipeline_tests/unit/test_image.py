"""Images: what is accepted, and that nothing else is, however it pretends."""

import base64
import io
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from flag_pipeline.core.image import MAX_FRAMES, MAX_THUMBNAIL_BYTES, inspect_image
from flag_pipeline.core.presets import ANY_FORMAT, GIF
from flag_pipeline.errors import SourceContractError
from flag_pipeline.models import FlagImage
from flag_pipeline_tests.samples import gif, picture


def inspect(content: bytes, *, formats: frozenset[str] = ANY_FORMAT, max_pixels: int = 100_000) -> FlagImage:
    """Inspect *content* as a flag of China."""
    return inspect_image(content, code="CN", url="http://x/cn.gif", formats=formats, max_pixels=max_pixels)


def thumbnail_of(image: FlagImage) -> bytes:
    """The bytes in a thumbnail's `data:` URI."""
    return base64.b64decode(image.thumbnail.partition(",")[2])


@pytest.mark.parametrize("kind", ["gif", "png", "jpeg", "webp"])
def test_four_formats_are_accepted(kind: str) -> None:
    """Format and size are what the bytes say."""
    image = inspect(picture(kind.upper()))

    assert (image.format, image.width_px, image.height_px) == (kind, 8, 4)


def test_small_image_is_its_own_thumbnail() -> None:
    """The bytes that came are the bytes that the UI shows."""
    assert thumbnail_of(inspect(gif())) == gif()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK"])
def test_large_image_of_any_mode_gets_a_small_thumbnail(mode: str) -> None:
    """Noise compresses badly: the thumbnail shrinks until it fits."""
    noise = Image.effect_noise((400, 300), 90).convert("RGB")
    noisy = noise.convert("I").convert("I;16") if mode == "I;16" else noise.convert(mode)
    buffer = io.BytesIO()
    noisy.save(buffer, "JPEG" if mode == "CMYK" else "PNG")

    image = inspect(buffer.getvalue(), max_pixels=10**6)

    assert len(thumbnail_of(image)) <= MAX_THUMBNAIL_BYTES
    with Image.open(io.BytesIO(thumbnail_of(image))) as thumbnail:
        assert thumbnail.width <= 160


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not found</html>",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        gif()[:100],
        gif()[:-1],
        gif()[:-1] + b"<?php",
        picture("PNG")[:-12],
        picture("JPEG")[:-2],
        picture("WEBP")[:-3],
        picture("BMP"),
        picture("TIFF"),
        picture("ICO", size=(16, 16)),
    ],
)
def test_anything_else_is_refused(content: bytes) -> None:
    """Nothing, HTML, a bare signature, a cut file, another format: none is a flag."""
    with pytest.raises(SourceContractError):
        inspect(content)


def test_format_that_the_source_does_not_have_is_refused() -> None:
    """A good PNG is no flag of a source of GIFs."""
    with pytest.raises(SourceContractError, match=r"not a whole image \(gif\)"):
        inspect(picture("PNG"), formats=GIF)


def test_jpeg_that_holds_several_pictures_is_refused() -> None:
    """Pillow opens it as another format than asked for; it must not slip through."""
    with pytest.raises(SourceContractError, match="mpo is not accepted"):
        inspect(picture("MPO", frames=2))


def test_padding_at_the_end_is_no_damage() -> None:
    """Some GIFs end in zeros."""
    assert inspect(gif() + b"\0" * 100).format == "gif"


@pytest.mark.parametrize("content", [picture("PNG", size=(1000, 200)), picture("GIF", size=(100, 500), frames=5)])
def test_pixels_are_bounded_over_all_frames(content: bytes) -> None:
    """200,000 pixels in one frame, or 250,000 in five, are more than 100,000."""
    with pytest.raises(SourceContractError, match="more than 100000 pixels"):
        inspect(content)


@pytest.mark.parametrize("size", [(9_000, 9_900), (65_000, 65_000)])
def test_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    """A header that claims gigapixels over no data is not decoded."""
    width, height = (side.to_bytes(2, "little") for side in size)
    bomb = gif()[:6] + width + height + gif()[10:]

    with pytest.raises(SourceContractError, match="not a whole image"):
        inspect(bomb)


def growing_gif(size: tuple[int, int], *, disposal: int) -> bytes:
    """A GIF of one pixel, whose second frame is larger, transparent, and disposed of in this way."""
    first = b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    control = b"\x21\xf9\x04" + bytes([disposal << 2 | 1, 0, 0, 0]) + b"\0"
    second = b"\x2c" + struct.pack("<4HB", 0, 0, *size, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<2H3B", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + first + control + second + b";"


@pytest.mark.parametrize(
    "content",
    [
        growing_gif((400, 300), disposal=2),
        growing_gif((400, 300), disposal=3),
        picture("WEBP", size=(400, 300)),
    ],
    ids=["cleared", "put back", "webp"],
)
def test_pillow_makes_no_room_for_what_is_too_large(content: bytes) -> None:
    """It would before we see the size: 60 bytes of a GIF cost 700 MB."""
    with pytest.raises(SourceContractError, match="more than 100000 pixels") as caught:
        inspect(content)

    refusal = caught.value.__cause__
    assert refusal is not None
    assert isinstance(refusal.__cause__, Image.DecompressionBombError)


@pytest.mark.parametrize("n_pixels", [1, 2, 3, 120_000])
def test_image_of_exactly_the_cap_is_accepted(n_pixels: int) -> None:
    """Without a warning from Pillow, which would be an error here."""
    content = picture("GIF", size=(n_pixels, 1) if n_pixels < 9 else (400, 300))

    assert inspect(content, max_pixels=n_pixels).format == "gif"
    with pytest.raises(SourceContractError):
        inspect(content, max_pixels=n_pixels - 1)


def test_cap_is_no_other_threads() -> None:
    """One refuses a picture again and again, while others accept it or just open it."""
    content = picture("PNG", size=(400, 300))

    def refuse() -> None:
        with pytest.raises(SourceContractError):
            inspect(content, max_pixels=100)

    def accept() -> None:
        inspect(content, max_pixels=120_000)

    def reopen() -> None:
        with Image.open(io.BytesIO(content)) as image:
            image.load()

    with ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(work) for _ in range(100) for work in (refuse, accept, reopen)]:
            done.result()


def test_frames_are_bounded() -> None:
    """A thousand frames of one pixel each are few pixels but much work."""
    with pytest.raises(SourceContractError, match=f"{MAX_FRAMES} frames"):
        inspect(many_frames(MAX_FRAMES + 1))

    assert inspect(many_frames(MAX_FRAMES)).format == "gif"


def many_frames(n_frames: int) -> bytes:
    """A GIF that shows one pixel for so many frames."""
    single = picture("GIF", size=(1, 1))
    frame = single[single.index(b"\x2c") : -1]
    return single[:-1] + frame * (n_frames - 1) + b";"
