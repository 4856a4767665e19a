"""Renders the gallery, one HTML page with all flags, filters, details and history, without other files.

Names are untrusted. They are escaped text and JSON data, which the script inserts as text only. The content security
policy allows only the page's own style, script and images.
"""

import base64
import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from flag_pipeline.catalog.plots import (
    SWATCHES,
    colour_bars,
    colour_families,
    ratio_bars,
    ratio_group,
    render_bars,
    size_bars,
)
from flag_pipeline.catalog.rows import CatalogRow
from flag_pipeline.catalog.tables import write_moment
from flag_pipeline.core.models import FlagChange, RowStatus
from flag_pipeline.core.names import other_names
from flag_pipeline.images.colours import ColourFamily
from flag_pipeline.images.thumbnails import thumbnail_uri

# They keep the page with all countries below 2 MB.
THUMBNAILS_BYTES, MAX_THUMBNAIL_BYTES, MIN_THUMBNAIL_BYTES, THUMBNAIL_PX = 800_000, 3000, 500, (176, 120)
MAX_HISTORY_PICTURES, HISTORY_THUMBNAIL_BYTES = 100, 1500
# Narrower images are enlarged without smoothing.
TINY_PX = 64

_STATUS_LABELS = {
    RowStatus.OK: "ok",
    RowStatus.STALE: "failed",
    RowStatus.NOT_FOUND: "not found",
    RowStatus.MISSING: "missing",
}


@dataclass(frozen=True, slots=True)
class Gallery:
    """The content of the page.

    Attributes:
        flags: `data:` URIs of the current flags, by code.
        replaced: `data:` URIs of replaced flags, by path.
    """

    rows: Sequence[CatalogRow]
    changes: Sequence[FlagChange] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)


def status_label(row: CatalogRow) -> str:
    """Return the status that the page shows and filters by."""
    return "failed" if row.has_failed else _STATUS_LABELS[row.status]


def card_thumbnail(row: CatalogRow, content: bytes, *, n_flags: int) -> str:
    """Return the flag as a `data:` URI; with more flags, each gets fewer bytes."""
    max_bytes = min(MAX_THUMBNAIL_BYTES, max(MIN_THUMBNAIL_BYTES, THUMBNAILS_BYTES // n_flags))
    return thumbnail_uri(content, row.file, box=THUMBNAIL_PX, max_bytes=max_bytes, n_frames=row.n_frames)


def history_thumbnail(file: str, content: bytes) -> str:
    """Return a replaced flag as a `data:` URI."""
    return thumbnail_uri(content, file, box=THUMBNAIL_PX, max_bytes=HISTORY_THUMBNAIL_BYTES)


def pictured_changes(changes: Sequence[FlagChange]) -> dict[str, tuple[str, str]]:
    """Return path and SHA-256, by path, of the replaced flags that the page shows."""
    return {
        change.old_file: (change.old_file, change.old_sha256)
        for change in changes[:MAX_HISTORY_PICTURES]
        if change.old_file
    }


def render_page(gallery: Gallery) -> bytes:
    """Return the HTML page."""
    style, script = _asset("page.css"), _asset("page.js")
    small = {
        "style": style,
        "script": script,
        "policy": f"default-src 'none'; img-src data:; style-src {_csp_hash(style)}; script-src {_csp_hash(script)}",
        "summary": _summary(gallery),
        "statuses": _options(Counter(status_label(row) for row in gallery.rows)),
        "ratios": _options(Counter({bar.label: bar.count for bar in ratio_bars(gallery.rows)})),
        "colours": _colour_boxes(gallery),
        "plot_colours": render_bars("Flags with each colour", colour_bars(gallery.rows)),
        "plot_ratios": render_bars("Flags by aspect ratio", ratio_bars(gallery.rows)),
        "plot_sizes": render_bars("Flags by file size", size_bars(gallery.rows)),
        "n_rows": len(gallery.rows),
        "attributions": _attributions(gallery),
    }
    # The parts that grow with the countries are encoded piece by piece, to save memory.
    large = {"cards": _cards, "data": _details}
    parts = re.split(r"\$(cards|data)\b", _asset("page.html"))
    pieces = (large[part](gallery) if part in large else [Template(part).substitute(small)] for part in parts)
    page = io.BytesIO()
    page.writelines(piece.encode() for part in pieces for piece in part)
    return page.getvalue()


def script_json(document: object) -> str:
    """Return JSON that is safe inside a script element."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def _asset(name: str) -> str:
    return files("flag_pipeline.catalog").joinpath("page", name).read_text(encoding="utf-8")


def _csp_hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _summary(gallery: Gallery) -> str:
    counts = Counter(status_label(row) for row in gallery.rows)
    parts = [f"{counts[status]} {status}" for status in _STATUS_LABELS.values() if counts[status]]
    newest = max((row.changed_at for row in gallery.rows if row.changed_at), default=None)
    when = f" Newest flag: {newest:%d %B %Y}." if newest else ""
    return escape(f"{len(gallery.rows)} countries: {', '.join(parts) or 'none'}.{when}")


def _attributions(gallery: Gallery) -> str:
    sources = {f"{row.attribution}: {row.licence}" for row in gallery.rows if row.licence}
    drawn = any(row.file and not row.aspect_ratio for row in gallery.rows)
    notes = ["The drawings are simplified, and nearly all in one ratio."] if drawn else []
    return escape(" ".join([f"Flags from {'; '.join(sorted(sources))}."] * bool(sources) + notes))


def _options(counts: Counter[str]) -> str:
    return "".join(
        f'<option value="{escape(value)}">{escape(value)} ({count})</option>' for value, count in counts.items()
    )


def _colour_boxes(gallery: Gallery) -> str:
    present = {family for row in gallery.rows for family in colour_families(row)}
    return "".join(
        f'<label class="chip"><input type="checkbox" name="colour" value="{family}">'
        '<svg class="swatch" viewBox="0 0 1 1" aria-hidden="true">'
        f'<rect width="1" height="1" fill="{SWATCHES[family]}"/></svg>{family}</label>'
        for family in ColourFamily
        if family in present
    )


def _cards(gallery: Gallery) -> Iterator[str]:
    return (_card(row, gallery.flags.get(row.code, "")) for row in gallery.rows)


def _card(row: CatalogRow, uri: str) -> str:
    status = status_label(row)
    code, name = escape(row.code), escape(row.name)
    tiny = ' class="tiny"' if row.width_px and row.width_px <= TINY_PX else ""
    picture = f'<img src="{uri}" alt=""{tiny}>' if uri else '<span class="no-flag" aria-hidden="true">no flag</span>'
    mark = "" if status == "ok" else f'<span class="mark {status.replace(" ", "-")}">{status}</span>'
    return (
        f'<li data-code="{code}"><button type="button" class="card" aria-haspopup="dialog">'
        f'<span class="picture">{picture}</span>'
        f'<span class="label"><span class="code">{code}</span> <span class="name">{name}</span></span>'
        f"{mark}</button></li>\n"
    )


def _details(gallery: Gallery) -> Iterator[str]:
    histories = _histories(gallery)
    yield "{"
    for number, row in enumerate(gallery.rows):
        yield f"{',' if number else ''}{script_json(row.code)}:{script_json(_detail(row, histories[row.code]))}"
    yield "}"


def _detail(row: CatalogRow, history: list[dict[str, object]]) -> dict[str, object]:
    return {
        "name": row.name,
        "official": row.official_name,
        "aliases": "\n".join(other_names(row.code)),
        "alpha3": row.alpha_3,
        "numeric": row.numeric,
        "tld": row.tld,
        "status": status_label(row),
        "reason": row.reason,
        "file": row.file,
        "width": row.width_px,
        "height": row.height_px,
        "ratio": row.aspect_ratio,
        "decimal": row.aspect_decimal,
        "ratioGroup": ratio_group(row.aspect_decimal) if row.aspect_decimal else "",
        "colours": [[colour.hex, colour.share] for colour in row.colours],
        "families": colour_families(row),
        "frames": row.n_frames,
        "size": row.size_bytes,
        "sha256": row.sha256,
        "url": row.source_url,
        "firstSeen": write_moment(row.first_seen_at) if row.first_seen_at else "",
        "changed": write_moment(row.changed_at) if row.changed_at else "",
        "nChanges": row.n_changes or 0,
        "history": history,
    }


def _histories(gallery: Gallery) -> defaultdict[str, list[dict[str, object]]]:
    histories: defaultdict[str, list[dict[str, object]]] = defaultdict(list)
    for change in gallery.changes:
        histories[change.code].append(
            {
                "at": write_moment(change.changed_at),
                "distance": change.distance_bits,
                "oldSize": change.old_size_bytes,
                "newSize": change.new_size_bytes,
                "old": gallery.replaced.get(change.old_file, ""),
            }
        )
    return histories
