"""The details that the gallery's page loads when a flag is opened: scripts with the data of a few hundred rows each.

A page opened from a local file may load scripts, but no JSON.
"""

import json
from collections import defaultdict
from collections.abc import Sequence

from flag_pipeline.catalog.gallery_content import Gallery, address_of, thumbnail_address
from flag_pipeline.catalog.rows import CatalogRow, status_label
from flag_pipeline.catalog.tables import write_moment
from flag_pipeline.core.layout import PAGE_DETAILS

# page.js has this number too.
ROWS_PER_FILE = 250


def render_details(rows: Sequence[CatalogRow], gallery: Gallery) -> dict[str, bytes]:
    """Return the scripts by path; *rows* are in the order of the page."""
    histories = _histories(gallery)
    files = {}
    for start in range(0, len(rows), ROWS_PER_FILE):
        document = {row.code: _detail(row, gallery, histories[row.code]) for row in rows[start : start + ROWS_PER_FILE]}
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        files[f"{PAGE_DETAILS}/{start // ROWS_PER_FILE}.js"] = f"flagDetails({text});\n".encode()
    return files


def _detail(row: CatalogRow, gallery: Gallery, history: list[dict[str, object]]) -> dict[str, object]:
    return {
        "name": row.name,
        "official": row.official_name,
        "alpha3": row.alpha_3,
        "numeric": row.numeric,
        "tld": row.tld,
        "status": status_label(row),
        "reason": row.reason,
        "file": row.file,
        "format": row.format,
        "downloads": {label: address_of(path) for label, path in gallery.downloads.get(row.code, {}).items()},
        "width": row.width_px,
        "height": row.height_px,
        "ratio": row.aspect_ratio,
        "decimal": row.aspect_decimal,
        "colours": [[colour.hex, colour.share] for colour in row.colours],
        "frames": row.n_frames,
        "size": row.size_bytes,
        "sha256": row.sha256,
        "url": row.source_url,
        "licence": ": ".join(filter(None, (row.attribution, row.licence))),
        "firstSeen": write_moment(row.first_seen_at) if row.first_seen_at else "",
        "changed": write_moment(row.changed_at) if row.changed_at else "",
        "nChanges": row.n_changes or 0,
        "history": history,
    }


def _histories(gallery: Gallery) -> defaultdict[str, list[dict[str, object]]]:
    histories: defaultdict[str, list[dict[str, object]]] = defaultdict(list)
    for change in gallery.changes:
        is_pictured = change.old_sha256 in gallery.pictured
        histories[change.code].append(
            {
                "at": write_moment(change.changed_at),
                "distance": change.distance_bits,
                "oldSize": change.old_size_bytes,
                "newSize": change.new_size_bytes,
                "old": thumbnail_address(change.old_sha256) if is_pictured else "",
            }
        )
    return histories
