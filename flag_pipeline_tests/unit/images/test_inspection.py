"""Which images are accepted, and which are refused."""

import io
import struct
import traceback
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from PIL import Image, ImageOps

from flag_pipeline.core.models import StoredImage
from flag_pipeline.core.presets import ANY_FORMAT, ONLY_GIF
from flag_pipeline.errors import ErrorKind, ImageError, LocalError
from flag_pipeline.fetching.models import Validators
from flag_pipeline.images.features import describe_features
from flag_pipeline.images.inspection import DERIVED_VERSION, inspect_image, recall_image
from flag_pipeline.images.models import Derived, FlagImage
from flag_pipeline.images.structure import Limits
from flag_pipeline.images.thumbnails import EVENT_BOX, MAX_EVENT_CHARS, THUMBNAIL_BOX, draw_thumbnail, read_data_uri
from flag_pipeline_tests.pictures import chunk, exif, png, scans, segment, with_segment
from flag_pipeline_tests.samples import MOMENT, gif, picture

MAX_FRAMES = Limits().max_frames


def inspect(content: bytes, *, formats: frozenset[str] = ANY_FORMAT, max_pixels: int = 100_000) -> FlagImage:
    """Inspect *content* as a flag of China."""
    return inspect_image(content, formats=formats, limits=Limits(max_pixels=max_pixels))


def thumbnail_of(image: FlagImage) -> bytes:
    """The bytes in a thumbnail's `data:` URI."""
    return read_data_uri(image.derived.thumbnail)


@pytest.mark.parametrize("kind", ["gif", "png", "jpeg", "webp"])
def test_four_formats_are_accepted(kind: str) -> None:
    """Format and size are what the bytes say."""
    image = inspect(picture(kind.upper()))

    assert (image.format, image.width_px, image.height_px) == (kind, 8, 4)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK"])
def test_large_image_of_any_mode_gets_small_thumbnails(mode: str) -> None:
    """Noise compresses badly: the event's thumbnail shrinks until it fits."""
    noise = Image.effect_noise((400, 300), 90).convert("RGB")
    if mode == "RGBA":
        noise.putalpha(Image.effect_noise((400, 300), 90))
    noisy = noise.convert("I").convert("I;16") if mode == "I;16" else noise.convert(mode)
    buffer = io.BytesIO()
    noisy.save(buffer, "JPEG" if mode == "CMYK" else "PNG")

    image = inspect(buffer.getvalue(), max_pixels=10**6)

    assert len(image.derived.thumbnail) <= MAX_EVENT_CHARS
    with Image.open(io.BytesIO(thumbnail_of(image))) as thumbnail:
        assert thumbnail.width <= EVENT_BOX[0]
    with Image.open(io.BytesIO(image.page_thumbnail)) as thumbnail:
        assert thumbnail.size == THUMBNAIL_BOX


@pytest.mark.parametrize("kind", ["GIF", "PNG", "JPEG", "WEBP"])
def test_what_is_derived_equals_separate_decodings(kind: str) -> None:
    """One decoding checks the image and gives everything that is derived from it."""
    content = picture(kind, size=(300, 200))

    image = inspect(content)

    assert image.derived.features == describe_features(content)
    assert image.derived.version == DERIVED_VERSION
    assert image.page_thumbnail == draw_thumbnail(content)


def test_small_image_is_not_enlarged() -> None:
    """Its thumbnails have its own size."""
    image = inspect(picture("GIF"))

    for content in (thumbnail_of(image), image.page_thumbnail):
        with Image.open(io.BytesIO(content)) as thumbnail:
            assert (thumbnail.format, thumbnail.size) == ("WEBP", (8, 4))


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
        gif()[:13] + b";",
        b"GIF89a" + bytes(7) + b";",
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
    with pytest.raises(ImageError):
        inspect(content)


def test_format_that_the_source_does_not_have_is_refused() -> None:
    """A good PNG is no flag of a source of GIFs."""
    with pytest.raises(ImageError, match=r"not a whole image \(gif\)"):
        inspect(picture("PNG"), formats=ONLY_GIF)


@pytest.mark.parametrize("n_pictures", [2, 5])
def test_jpeg_that_holds_several_pictures_is_accepted(n_pictures: int) -> None:
    """Cameras write such files; browsers show the first picture, and the others are no foreign bytes behind it."""
    image = inspect(picture("MPO", frames=n_pictures))

    assert (image.format, image.width_px, image.height_px) == ("jpeg", 8, 4)
    assert describe_features(image.content).n_frames == 1


@pytest.mark.parametrize("kind", ["GIF", "PNG", "JPEG", "WEBP", "MPO"])
@pytest.mark.parametrize("padding", [b"\n", b"\r\n", b" \t\n", b"\0", b"\0" * 100_000, b"\n\0" * 3000])
def test_white_space_and_zeros_at_the_end_are_no_damage(kind: str, padding: bytes) -> None:
    """Editors append a line feed, and some programs fill files up with zeros, however many."""
    content = picture(kind, frames=2 if kind == "MPO" else 1) + padding

    assert inspect(content).content == content


@pytest.mark.parametrize("kind", ["GIF", "PNG", "JPEG", "WEBP", "MPO"])
@pytest.mark.parametrize("tail", [b"<?php", b"\n\0;", b"PK\3\4" + bytes(700_100), gif(), b"\n" * 2000 + b"x"])
def test_anything_else_behind_the_picture_is_refused(kind: str, tail: bytes) -> None:
    """Scripts and archives hide there; the message counts the bytes, also where the picture's end mark follows."""
    content = picture(kind, frames=2 if kind == "MPO" else 1)
    end_mark = content[-12:] if kind == "PNG" else content[-2:]

    for hidden in (tail, tail + end_mark):
        with pytest.raises(ImageError, match=f"^{len(hidden):,} bytes after the end of the picture$"):
            inspect(content + hidden)


def test_index_of_a_jpeg_hides_nothing() -> None:
    """A script where the index has a picture, a picture too many, and a cut one are refused; a missing one is not."""
    content = picture("MPO", frames=2)
    second = content.index(b"\xff\xd8", 2)

    with pytest.raises(ImageError, match="bytes after the end of the picture"):
        inspect(content[:second] + b"#!/bin/sh\n" + content[second:])
    with pytest.raises(ImageError, match="bytes after the end of the picture"):
        inspect(content + content[second:])
    with pytest.raises(ImageError, match="cut short"):
        inspect(content[:-30])
    assert inspect(content[:second]).format == "jpeg"


def test_thumbnail_inside_a_jpeg_is_not_its_end() -> None:
    """The end marker of an embedded thumbnail is inside a segment, and a cut image is still recognised."""
    content = with_segment(picture("JPEG"), 0xE1, b"Exif\0\0" + picture("JPEG"))

    assert inspect(content).format == "jpeg"
    with pytest.raises(ImageError, match="cut short"):
        inspect(content[:-2])


@pytest.mark.parametrize("content", [picture("PNG", size=(1000, 200)), picture("GIF", size=(100, 500), frames=5)])
def test_pixels_are_bounded_over_all_frames(content: bytes) -> None:
    """200,000 pixels in one frame, or 250,000 in five, are more than 100,000."""
    with pytest.raises(ImageError, match="more than 100000 pixels"):
        inspect(content)


@pytest.mark.parametrize("size", [(9_000, 9_900), (65_000, 65_000)])
def test_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    """A header that claims gigapixels over no data is not decoded."""
    width, height = (side.to_bytes(2, "little") for side in size)
    bomb = gif()[:6] + width + height + gif()[10:]

    with pytest.raises(ImageError, match="pixels, more than 100000 pixels: raise FLAG_MAX_PIXELS"):
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
    """Pillow would before we see the size (60 bytes of a GIF cost 700 MB), so it is not asked at all."""
    with pytest.raises(ImageError, match="more than 100000 pixels") as caught:
        inspect(content)

    error: BaseException | None = caught.value
    while error is not None:
        assert not any("PIL" in frame.filename for frame in traceback.extract_tb(error.__traceback__))
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("n_pixels", [1, 2, 3, 120_000])
def test_image_of_exactly_the_cap_is_accepted(n_pixels: int) -> None:
    """Pillow gives no warning, which would be an error here."""
    content = picture("GIF", size=(n_pixels, 1) if n_pixels < 9 else (400, 300))

    assert inspect(content, max_pixels=n_pixels).format == "gif"
    with pytest.raises(ImageError):
        inspect(content, max_pixels=n_pixels - 1)


def test_cap_is_no_other_threads() -> None:
    """One refuses a picture again and again, while others accept it or just open it."""
    content = picture("PNG", size=(400, 300))

    def refuse() -> None:
        with pytest.raises(ImageError):
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
    with pytest.raises(ImageError, match=f"more than {MAX_FRAMES} frames: raise FLAG_MAX_FRAMES"):
        inspect(many_frames(MAX_FRAMES + 1))

    assert inspect(many_frames(MAX_FRAMES)).format == "gif"


def many_frames(n_frames: int) -> bytes:
    """A GIF that shows one pixel for so many frames."""
    single = picture("GIF", size=(1, 1))
    frame = single[single.index(b"\x2c") : -1]
    return single[:-1] + frame * (n_frames - 1) + b";"


def inspect_scans(n_scans: int, *, max_scans: int, side: int = 16) -> FlagImage:
    """Inspect a JPEG of so many scans."""
    limits = Limits(max_pixels=side * side, max_scans=max_scans)
    return inspect_image(scans(n_scans, side=side), formats=ANY_FORMAT, limits=limits)


@pytest.mark.parametrize(("n_scans", "max_scans"), [(101, 100), (14_000, 100), (14_000, 13_999), (12, 11)])
def test_scans_of_a_jpeg_are_bounded(n_scans: int, max_scans: int) -> None:
    """Each scan visits all pixels: a JPEG of 1 MB would take minutes. The message names the setting."""
    refused = f"has {n_scans} scans, more than {max_scans} scans: raise FLAG_MAX_SCANS to accept it"
    with pytest.raises(ImageError, match=refused):
        inspect_scans(n_scans, max_scans=max_scans)

    assert inspect_scans(max_scans, max_scans=max_scans).format == "jpeg"


def test_scans_are_counted_wherever_they_hide() -> None:
    """Comments, junk, padding and restart marks between segments hide no scan from the count."""
    content = scans(101)
    marks = [at for at in range(len(content) - 1) if content[at : at + 2] == b"\xff\xda"]
    for at in reversed(marks):
        content = content[:at] + segment(0xFE, b"\xff\xda") + b"\xff\xd0" + b"junk\xff\0\xff\xff" + content[at:]

    with pytest.raises(ImageError, match="has 101 scans"):
        inspect(content)


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC9, 0xCA, 0xCB, 0xCF])
def test_jpeg_that_no_browser_shows_is_refused(marker: int) -> None:
    """Lossless, hierarchical and arithmetic JPEGs: the latter take seconds however few bytes they have."""
    content = picture("JPEG").replace(b"\xff\xc0", bytes([0xFF, marker]))

    with pytest.raises(ImageError, match=f"no jpeg with a frame of type 0x{marker:02x}"):
        inspect(content)


@pytest.mark.parametrize(
    "more",
    [
        [chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1_040_000), 9))] * 900,
        [chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_040_000), 9))] * 900,
        [chunk(b"tEXt", b"no separator"), chunk(b"zTXt", b"a\0\7"), chunk(b"iCCP", b"")],
        [chunk(b"prVt")] * 50_000,
        [chunk(b"acTL", struct.pack(">2I", 0, 0))],
        [chunk(b"acTL", struct.pack(">2I", 9, 0))],
        [chunk(b"acTL", struct.pack(">2I", 9, 0)), chunk(b"acTL", struct.pack(">2I", 9, 0))],
        [chunk(b"fcTL", struct.pack(">5I2H2B", 0, 9, 9, 0, 0, 1, 1, 0, 0))],
    ],
    ids=["profiles", "texts", "damaged texts", "private", "no frames", "none comes", "two controls", "no control"],
)
def test_what_does_not_draw_a_png_is_not_unpacked(more: list[bytes]) -> None:
    """Profiles and texts of a gigabyte fit into a megabyte; browsers ignore damaged ones, and wrong animations."""
    content = png((1, 1), bits=8, colour=0, rows=b"\0\x80", more=more)

    assert inspect(content).format == "png"
    assert describe_features(content).n_frames == 1


def test_exif_data_are_not_unpacked() -> None:
    """Pillow would print a warning for each of thousands of entries that name more than there is."""
    entries = b"".join(struct.pack(">HHII", tag, 7, 60_000, 0) for tag in range(5000))
    bomb = b"MM\0*\0\0\0\x08" + struct.pack(">H", 5000) + entries
    jpeg = picture("JPEG").replace(b"JFIF", b"JFXX")

    image = inspect(with_segment(jpeg, 0xE1, b"Exif\0\0" + bomb))

    assert (image.format, image.width_px) == ("jpeg", 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_turned_image_is_described_as_it_is_shown(kind: str, orientation: int) -> None:
    """Browsers apply the EXIF orientation; size, thumbnail, colours and hash do too."""
    flag = Image.effect_noise((300, 200), 20).convert("RGB")
    flag.paste("red", (0, 0, 150, 100))
    tag = Image.Exif()
    tag[0x0112] = orientation
    buffer = io.BytesIO()
    flag.save(buffer, kind, exif=tag.tobytes(), **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(buffer) as stored:
        upright = ImageOps.exif_transpose(stored).convert("RGB")
    plain = io.BytesIO()
    upright.save(plain, "PNG")

    image = inspect(buffer.getvalue())

    assert (image.width_px, image.height_px) == upright.size
    with Image.open(io.BytesIO(thumbnail_of(image))) as thumbnail:
        assert thumbnail.width / thumbnail.height == pytest.approx(upright.width / upright.height, rel=0.05)
    assert describe_features(buffer.getvalue()) == replace(describe_features(plain.getvalue()), mode="RGB")


@pytest.mark.parametrize(
    "data",
    [exif(9), exif(0), exif(6, kind=4), b"", b"MM", b"II*\0\xff\xff\xff\xff", exif(6)[:12], exif(6)[:20]],
    ids=["9", "0", "wrong type", "empty", "two bytes", "far away", "no entry", "cut"],
)
def test_damaged_exif_data_turn_nothing(data: bytes) -> None:
    """Browsers show such a picture as it is stored."""
    image = inspect(with_segment(picture("JPEG"), 0xE1, b"Exif\0\0" + data))

    assert (image.width_px, image.height_px) == (8, 4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_data_have_two_byte_orders(order: str) -> None:
    """Cameras use both byte orders."""
    image = inspect(with_segment(picture("JPEG"), 0xE1, b"Exif\0\0" + exif(6, order=order)))

    assert (image.width_px, image.height_px) == (4, 8)


def test_recalled_image_beyond_the_limits_is_refused() -> None:
    """An earlier version stored it without features, and deriving them now takes too long."""
    content = scans(101)
    known = StoredImage("flags/CN-x.jpg", "jpeg", 16, 16, len(content), "0", "u", MOMENT, MOMENT, Validators())

    with pytest.raises(ImageError, match="has 101 scans"):
        recall_image(content, known, limits=Limits())

    recalled = recall_image(content, known, limits=Limits(max_scans=101))
    assert recalled.derived.features == describe_features(content)


def test_image_that_this_version_described_is_not_decoded_again() -> None:
    """Its record has the sizes, the features and the thumbnail; the page's thumbnail is in the store."""
    derived = replace(inspect(gif()).derived, thumbnail="data:known")
    known = StoredImage("flags/CN-x.gif", "gif", 8, 4, 1, "0", "u", MOMENT, MOMENT, Validators(), derived=derived)

    recalled = recall_image(b"not decoded", known, limits=Limits())

    assert recalled == FlagImage(b"not decoded", "gif", 8, 4, "0", derived)


def test_image_that_another_version_described_is_decoded_again() -> None:
    """Its features may be computed in another way now."""
    derived = Derived("0.0", replace(inspect(gif()).derived.features, phash="0" * 16), "data:known")
    known = StoredImage("flags/CN-x.gif", "gif", 8, 4, 1, "0", "u", MOMENT, MOMENT, Validators(), derived=derived)

    recalled = recall_image(gif(), known, limits=Limits())

    assert recalled == replace(inspect(gif()), sha256="0")


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError()])
def test_trouble_of_this_computer_is_not_the_images_fault(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kind is transient: the next attempt may find files and memory again."""

    def fail(_image: Image.Image) -> None:
        raise error

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)

    with pytest.raises(LocalError, match="decode an image") as caught:
        inspect(picture("PNG"))

    assert caught.value.kind is ErrorKind.LOCAL


def test_error_of_pillow_without_a_text_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class of the exception is the reason."""

    def fail(_image: Image.Image) -> None:
        raise AssertionError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)

    with pytest.raises(ImageError, match="the png is damaged: AssertionError"):
        inspect(picture("PNG"))
