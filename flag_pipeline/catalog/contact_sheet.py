"""Draws the contact sheet, a PNG of all flags with labels, and the mosaic, a small one for events."""

import hashlib
import io
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import cache
from importlib.resources import files

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from flag_pipeline.errors import ImageError
from flag_pipeline.images.formats import read_structure
from flag_pipeline.images.structure import Limits
from flag_pipeline.images.thumbnails import THUMBNAIL_BOX, Size, enlarge, reduce

# Few programs open much larger pictures.
MAX_FLAGS = 400
# Raised when equal cells are drawn differently.
_VERSION, _DIGEST_KEY = 3, "Digest"

_COLUMNS, _CELL, _FLAG_BOX, _MARGIN = 16, (124, 122), (104, 70), 20
_PAPER, _INK, _FAINT, _ALARM = "#f7f7f5", "#1d1d1f", "#5f6368", "#b3261e"

_MOSAIC_COLUMNS, _MOSAIC_CELL, _MOSAIC_BOX = 21, (18, 13), (16, 11)
_MOSAIC_QUALITY = 15


# Not a catalog row, because importing its modules delays the decoding process.
@dataclass(frozen=True, slots=True)
class Cell:
    """What the pictures show of a country.

    Attributes:
        iso_name: shown if the font lacks a letter of *name*.
        problem: the status, unless it is ok.
        sha256: of the shown flag.
    """

    code: str
    name: str
    iso_name: str
    problem: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the pictures show: at most `MAX_FLAGS` cells, and how many more there are."""

    cells: Sequence[Cell]
    n_more: int = 0

    @property
    def digest(self) -> str:
        """Equal for equal pictures."""
        return hashlib.sha256(json.dumps([_VERSION, self.n_more, *map(astuple, self.cells)]).encode()).hexdigest()


def render_pictures(sheet: Sheet, thumbnails: Mapping[str, bytes]) -> tuple[bytes, bytes]:
    """Return contact sheet and mosaic with the *thumbnails* by code, without damaged ones. Blocks."""
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
    return render_contact_sheet(sheet, tile_of), render_mosaic([cell.code for cell in sheet.cells], tiles)


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


def is_drawn_from(png: bytes, sheet: Sheet) -> bool:
    """Whether the contact sheet shows this."""
    # Pillow writes texts before the pixels.
    return f"{_DIGEST_KEY}\0{sheet.digest}".encode() in png[:256]


def render_contact_sheet(sheet: Sheet, tile_of: Callable[[str], Image.Image | None]) -> bytes:
    """Return a PNG with each flag, code and name, and problems in red; *tile_of* returns a code's tile."""
    n_cells = len(sheet.cells) + bool(sheet.n_more)
    picture = Image.new("RGB", _grid_size(n_cells, _COLUMNS, _CELL, margin=_MARGIN), _PAPER)
    draw = ImageDraw.Draw(picture)
    # Without antialiasing by Pillow, the result would depend on the platform's hinting.
    draw.fontmode = "L"
    for number, cell in enumerate(sheet.cells):
        left, top = _corner(number)
        _draw_flag(picture, draw, (left, top), tile_of(cell.code))
        _draw_label(draw, (left + _CELL[0] // 2, top + _FLAG_BOX[1] + 6), cell)
    if sheet.n_more:
        left, top = _corner(len(sheet.cells))
        draw.text((left + _CELL[0] // 2, top), f"and {sheet.n_more} more", font=_font(13), fill=_INK, anchor="ma")
    buffer = io.BytesIO()
    # A tenth larger than by default, in half the time.
    texts = PngInfo()
    texts.add_text(_DIGEST_KEY, sheet.digest)
    picture.save(buffer, "PNG", compress_level=3, compress_type=zlib.Z_RLE, pnginfo=texts)
    return buffer.getvalue()


def render_mosaic(codes: Sequence[str], tiles: Mapping[str, Image.Image]) -> bytes:
    """Return a WebP of a few kilobytes with the first `MAX_FLAGS` flags, and gaps for missing ones.

    *tiles* are of `mosaic_tile`, by code.
    """
    codes = codes[:MAX_FLAGS]
    mosaic = Image.new("RGB", _grid_size(len(codes), _MOSAIC_COLUMNS, _MOSAIC_CELL), "#808080")
    for number, code in enumerate(codes):
        if code in tiles:
            flag = tiles[code]
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


def _draw_flag(picture: Image.Image, draw: ImageDraw.ImageDraw, corner: Size, tile: Image.Image | None) -> None:
    width, height = _FLAG_BOX
    left, top = corner[0] + (_CELL[0] - width) // 2, corner[1]
    if tile is None:
        draw.rectangle((left, top, left + width - 1, top + height - 1), outline=_ALARM)
        draw.line((left, top + height - 1, left + width - 1, top), fill=_ALARM)
        return
    flag = enlarge(tile, _FLAG_BOX)
    left, top = left + (width - flag.width) // 2, top + (height - flag.height) // 2
    picture.paste(flag, (left, top), flag)
    # White flags need an edge on the light background.
    draw.rectangle((left - 1, top - 1, left + flag.width, top + flag.height), outline="#c9c9c7")


def _draw_label(draw: ImageDraw.ImageDraw, top_middle: Size, cell: Cell) -> None:
    x, y = top_middle
    heading = f"{cell.code}: {cell.problem}" if cell.problem else cell.code
    draw.text((x, y), heading, font=_font(13), fill=_ALARM if cell.problem else _INK, anchor="ma")
    name = cell.name if all(map(_has_letter, cell.name)) else cell.iso_name
    draw.text((x, y + 17), _shortened(name), font=_font(11), fill=_FAINT, anchor="ma")


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
