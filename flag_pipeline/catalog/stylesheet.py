"""The style sheet of a release: a CSS class per country, and what it shows."""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from flag_pipeline.catalog.rows import CatalogRow
from flag_pipeline.core.renditions import RenditionFile, RenditionRecord

# Classes as in flag-icons: one for all flags, one per country, one for squares.
_HEAD = """\
.flag { display: inline-block; width: 1.5em; height: 1em; background: center / contain no-repeat; }
.flag-square { width: 1em; }
"""


def render_stylesheet(rows: Iterable[CatalogRow], renditions: Mapping[str, RenditionRecord]) -> bytes:
    """Return the CSS, whose addresses are relative to the folder `release/`.

    `class="flag flag-fr"` shows the widest rendition, else the flag; `class="flag flag-square flag-fr"` shows the
    largest square one, if any.
    """
    lines = []
    for row in rows:
        if not row.file:
            continue
        files = renditions[row.code].files if row.code in renditions else ()
        code = row.code.lower()
        lines.append(_rule(f".flag-{code}", _widest(files, "w") or row.file))
        if square := _widest(files, "square"):
            lines.append(_rule(f".flag-square.flag-{code}", square))
    return (_HEAD + "".join(lines)).encode()


def _widest(files: Sequence[RenditionFile], shape: str) -> str:
    chosen = [file for file in files if file.rendition.rstrip("0123456789") == shape]
    return max(chosen, key=lambda file: file.width_px).file if chosen else ""


def _rule(selector: str, file: str) -> str:
    # `quote` leaves no character that could end the string.
    return f'{selector} {{ background-image: url("../{quote(file)}"); }}\n'
