"""Renders the gallery: an HTML page with all flags, with filters, details and history, and the files beside it.

The page shows thumbnails that other code draws. Names are untrusted: they are escaped text, attributes and JSON, which
the script inserts as text only. No style or script is inline, so the page works under a strict content security policy.
Addresses are relative, so it works from a local file and from an object store.
"""

import hashlib
import io
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from flag_pipeline.catalog.cards import css_token, render_card
from flag_pipeline.catalog.details import render_details
from flag_pipeline.catalog.gallery_content import Gallery
from flag_pipeline.catalog.plots import (
    SWATCHES,
    colour_bars,
    colour_families,
    ratio_bars,
    render_bars,
    size_bars,
)
from flag_pipeline.catalog.rows import STATUS_LABELS, CatalogRow, status_label
from flag_pipeline.core.layout import CATALOG, GALLERY_PATH
from flag_pipeline.images.colours import ColourFamily

_BESIDE = ("page.css", "page.js", "icon.svg")


def render_page(gallery: Gallery) -> dict[str, bytes]:
    """Return the page and the files beside it, by path."""
    rows = sorted(gallery.rows, key=_alphabetically)
    details = render_details(rows, gallery)
    small = {
        "style": _digest(_asset("page.css")),
        "script": _digest(_asset("page.js")),
        "details": _digest(*details.values()),
        "summary": _summary(rows),
        "statuses": _options(Counter(status_label(row) for row in rows)),
        "colours": _colour_boxes(rows),
        "plot_colours": render_bars("Flags with each colour", colour_bars(rows)),
        "plot_sizes": render_bars("Flags by file size", size_bars(rows)),
        **_ratio_parts(rows),
        "n_rows": len(rows),
        "credits": "".join(f"<p>{escape(sentence)}</p>\n" for sentence in gallery.credits),
    }
    before, after = (Template(part).substitute(small) for part in _asset("page.html").decode().split("$cards"))
    page = io.BytesIO()
    page.write(before.encode())
    # Encoded card by card, to save memory.
    page.writelines(render_card(row, gallery).encode() for row in rows)
    page.write(after.encode())
    return {GALLERY_PATH: page.getvalue(), **{f"{CATALOG}/{name}": _asset(name) for name in _BESIDE}, **details}


@cache
def _asset(name: str) -> bytes:
    return files("flag_pipeline.catalog").joinpath("page", name).read_bytes()


def _digest(*contents: bytes) -> str:
    # In the addresses, so that no browser combines the page with another version's cached files.
    return hashlib.sha256(b"".join(contents)).hexdigest()[:12]


def _alphabetically(row: CatalogRow) -> tuple[str, str]:
    # Åland comes among the names with A, as in English lists.
    letters = unicodedata.normalize("NFKD", row.name)
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold(), row.code


def _summary(rows: Sequence[CatalogRow]) -> str:
    counts = Counter(status_label(row) for row in rows)
    parts = [f"{counts[status]} {status}" for status in STATUS_LABELS.values() if counts[status]]
    newest = max((row.changed_at for row in rows if row.changed_at), default=None)
    when = f" Newest flag: {newest:%d %B %Y}." if newest else ""
    return escape(f"{len(rows)} countries: {', '.join(parts) or 'none'}.{when}")


def _options(counts: Counter[str]) -> str:
    return "".join(
        f'<option value="{css_token(label)}">{escape(label)} ({count})</option>' for label, count in counts.items()
    )


def _ratio_parts(rows: Sequence[CatalogRow]) -> dict[str, str]:
    """Return filter, order and plot, empty if no ratio is known, as with simplified drawings."""
    bars = ratio_bars(rows)
    if not bars:
        return dict.fromkeys(("ratio_field", "ratio_order", "ratio_plot"), "")
    options = '<option value="">any</option>' + _options(Counter({bar.label: bar.count for bar in bars}))
    plot = render_bars("Flags by aspect ratio", bars)
    return {
        "ratio_field": f'<label>Aspect ratio<select name="ratio">{options}</select></label>\n',
        "ratio_order": '<option value="ratio">aspect ratio</option>\n',
        "ratio_plot": f"<figure><figcaption>Flags by aspect ratio</figcaption>{plot}</figure>\n",
    }


def _colour_boxes(rows: Sequence[CatalogRow]) -> str:
    present = {family for row in rows for family in colour_families(row)}
    return "".join(
        f'<label class="chip"><input type="checkbox" name="colour" value="{css_token(family)}">'
        '<svg class="swatch" viewBox="0 0 1 1" aria-hidden="true">'
        f'<rect width="1" height="1" fill="{SWATCHES[family]}"/></svg>{family}</label>'
        for family in ColourFamily
        if family in present
    )
