"""Draws the contact sheet, a PNG of all flags with labels, and the mosaic, a small one for Dagster events."""

import hashlib
import io
import json
import math
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from flag_pipeline.catalog.rows import CatalogRow, status_label
from flag_pipeline.core.countries import iso_country
from flag_pipeline.core.models import RowStatus
from flag_pipeline.errors import ImageError
from flag_pipeline.images.formats import read_structure
from flag_pipeline.images.structure import Limits
from flag_pipeline.images.thumbnails import THUMBNAIL_BOX, Size, enlarge, reduce

# Few programs open much larger pictures.
MAX_FLAGS = 400
# Raised when equal rows and flags are drawn differently.
_VERSION, _DIGEST_KEY = 2, "Digest"

_COLUMNS, _CELL, _FLAG_BOX, _MARGIN = 16, (124, 122), (104, 70), 20
_PAPER, _INK, _FAINT, _ALARM = "#f7f7f5", "#1d1d1f", "#5f6368", "#b3261e"

_MOSAIC_COLUMNS, _MOSAIC_CELL, _MOSAIC_BOX = 21, (18, 13), (16, 11)
_MOSAIC_QUALITY = 15


def render_pictures(
    rows: Sequence[CatalogRow], thumbnails: Mapping[str, bytes], *, n_more: int, digest: str
) -> tuple[bytes, bytes]:
    """Return contact sheet and mosaic, both with tiles of the *thumbnails* by code, without damaged ones. Blocks.

    For the other arguments see `render_contact_sheet`.
    """
    tiles: dict[str, Image.Image] = {}

    def tile_of(code: str) -> Image.Image | None:
        content = thumbnails.get(code, b"")
        with suppress(ImageError):
            # A larger one is none of ours, and hundreds would take minutes.
            read_structure(content).check(Limits(max_pixels=math.prod(THUMBNAIL_BOX)))
            tile = sheet_tile(content)
            tiles[code] = mosaic_tile(tile)
            return tile
        return None

    # Tiles come one at a time, to save memory.
    return render_contact_sheet(rows, tile_of, n_more=n_more, digest=digest), render_mosaic(rows, tiles)


def sheet_tile(content: bytes) -> Image.Image:
    """Return the flag, or its thumbnail, in the contact sheet's size."""
    return reduce(content, _FLAG_BOX)


def mosaic_tile(flag: bytes | Image.Image) -> Image.Image:
    """Return the flag, or a tile of the contact sheet, in the mosaic's size."""
    if isinstance(flag, bytes):
        return reduce(flag, _MOSAIC_BOX)
    tile = flag.copy()
    tile.thumbnail(_MOSAIC_BOX, Image.Resampling.LANCZOS)
    return tile


def sheet_digest(rows: Sequence[CatalogRow], pictured: Collection[str]) -> str:
    """Return the digest of what both pictures show; *pictured* are SHA-256 of flags with a tile."""
    shown = [(row.code, row.name, row.status, row.sha256 if row.sha256 in pictured else "") for row in rows[:MAX_FLAGS]]
    return hashlib.sha256(json.dumps([_VERSION, len(rows), shown]).encode()).hexdigest()


def is_drawn_from(sheet: bytes, digest: str) -> bool:
    """Whether the contact sheet has this `sheet_digest`."""
    # Pillow writes texts before the pixels.
    return f"{_DIGEST_KEY}\0{digest}".encode() in sheet[:256]


def render_contact_sheet(
    rows: Sequence[CatalogRow], tile_of: Callable[[str], Image.Image | None], *, n_more: int = 0, digest: str = ""
) -> bytes:
    """Return a PNG with each row's flag, code and name, and its status in red unless `ok`.

    *tile_of* returns a code's tile; *digest* is for `is_drawn_from`. Rows beyond `MAX_FLAGS`, and *n_more*, are only
    counted.
    """
    rows, n_more = rows[:MAX_FLAGS], n_more + max(0, len(rows) - MAX_FLAGS)
    n_cells = len(rows) + bool(n_more)
    sheet = Image.new("RGB", _grid_size(n_cells, _COLUMNS, _CELL, margin=_MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    # Without antialiasing by Pillow, the result would depend on the platform's hinting.
    draw.fontmode = "L"
    for number, row in enumerate(rows):
        left, top = _corner(number)
        _draw_flag(sheet, draw, (left, top), tile_of(row.code))
        _draw_label(draw, (left + _CELL[0] // 2, top + _FLAG_BOX[1] + 6), row)
    if n_more:
        left, top = _corner(len(rows))
        draw.text((left + _CELL[0] // 2, top), f"and {n_more} more", font=_font(13), fill=_INK, anchor="ma")
    buffer = io.BytesIO()
    # A tenth larger than by default, in half the time.
    texts = PngInfo()
    texts.add_text(_DIGEST_KEY, digest)
    sheet.save(buffer, "PNG", compress_level=3, compress_type=zlib.Z_RLE, pnginfo=texts)
    return buffer.getvalue()


def render_mosaic(rows: Sequence[CatalogRow], tiles: Mapping[str, Image.Image]) -> bytes:
    """Return a WebP of a few kilobytes with the first `MAX_FLAGS` flags, and gaps for missing ones.

    *tiles* are of `mosaic_tile`, by code.
    """
    rows = rows[:MAX_FLAGS]
    mosaic = Image.new("RGB", _grid_size(len(rows), _MOSAIC_COLUMNS, _MOSAIC_CELL), "#808080")
    for number, row in enumerate(rows):
        if row.code in tiles:
            flag = tiles[row.code]
            left = number % _MOSAIC_COLUMNS * _MOSAIC_CELL[0] + (_MOSAIC_CELL[0] - flag.width) // 2
            top = number // _MOSAIC_COLUMNS * _MOSAIC_CELL[1] + (_MOSAIC_CELL[1] - flag.height) // 2
            mosaic.paste(flag, (left, top), flag)
    buffer = io.BytesIO()
    mosaic.save(buffer, "WEBP", quality=_MOSAIC_QUALITY)
    return buffer.getvalue()


def _grid_size(n_cells: int, columns: int, cell: Size, *, margin: int = 0) -> Size:
    n_lines = max(1, math.ceil(n_cells / columns))
    return 2 * margin + columns * cell[0], 2 * margin + n_lines * cell[1]


def _corner(number: int) -> Size:
    return _MARGIN + number % _COLUMNS * _CELL[0], _MARGIN + number // _COLUMNS * _CELL[1]


def _draw_flag(sheet: Image.Image, draw: ImageDraw.ImageDraw, corner: Size, tile: Image.Image | None) -> None:
    width, height = _FLAG_BOX
    left, top = corner[0] + (_CELL[0] - width) // 2, corner[1]
    if tile is None:
        draw.rectangle((left, top, left + width - 1, top + height - 1), outline=_ALARM)
        draw.line((left, top + height - 1, left + width - 1, top), fill=_ALARM)
        return
    flag = enlarge(tile, _FLAG_BOX)
    left, top = left + (width - flag.width) // 2, top + (height - flag.height) // 2
    sheet.paste(flag, (left, top), flag)
    # White flags need an edge on the light background.
    draw.rectangle((left - 1, top - 1, left + flag.width, top + flag.height), outline="#c9c9c7")


def _draw_label(draw: ImageDraw.ImageDraw, top_middle: Size, row: CatalogRow) -> None:
    x, y = top_middle
    is_ok = row.status is RowStatus.OK
    heading = row.code if is_ok else f"{row.code}: {status_label(row)}"
    draw.text((x, y), heading, font=_font(13), fill=_INK if is_ok else _ALARM, anchor="ma")
    draw.text((x, y + 17), _shortened(_writable_name(row)), font=_font(11), fill=_FAINT, anchor="ma")


def _writable_name(row: CatalogRow) -> str:
    """Return the name, or the ISO 3166-1 name if the font lacks a letter."""
    return row.name if all(_has_letter(character) for character in row.name) else iso_country(row.code).name


def _shortened(name: str) -> str:
    room = _CELL[0] - 6
    if sum(map(_width, name)) <= room:
        return name
    while name and sum(map(_width, name + "…")) > room:
        name = name[:-1]
    return name.rstrip() + "…"


@cache
def _width(character: str) -> float:
    # Widths add up without kerning. Measuring whole names takes half as long as drawing.
    return _font(11).getlength(character)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Pillow's default font has no accented letters (Åland, Réunion, Türkiye).
    path = files("font_roboto").joinpath("files", "Roboto-Regular.ttf")
    return ImageFont.truetype(io.BytesIO(path.read_bytes()), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _has_letter(character: str) -> bool:
    # Fonts draw missing letters as one box, as they do this code point, which is no character.
    return character.isspace() or _drawn(character) != _drawn("\uffff")


def _drawn(character: str) -> tuple[Size, bytes]:
    mask = _font(13).getmask(character)
    return mask.size, bytes(mask)
