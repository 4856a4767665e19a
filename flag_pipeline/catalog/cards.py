"""Renders a flag's card on the gallery's page: a link to the file, with data for search and filters.

Cards are short, because there can be thousands. Codes and hashes need no quotes: they are letters and digits.
"""

import re
from collections.abc import Collection, Iterator
from html import escape

from flag_pipeline.catalog.gallery_content import TINY_PX, VECTOR, Gallery, address_of, thumbnail_address
from flag_pipeline.catalog.plots import colour_families, ratio_group
from flag_pipeline.catalog.rows import CatalogRow, status_label
from flag_pipeline.core.names import other_names
from flag_pipeline.images.thumbnails import thumbnail_size


def css_token(label: str) -> str:
    """Return *label* as a class of cards, and the filter's value in the page's address."""
    return re.sub(r"[^a-z0-9]+", "-", label.removeprefix("about "))


def render_card(row: CatalogRow, gallery: Gallery) -> str:
    """Return the list item; HTML does not need its end tag."""
    status = status_label(row)
    address = address_of(row.file) if row.file else f"#flag={row.code}"
    mark = "" if status == "ok" else f"<em>{status}</em>"
    terms = escape(" ".join(_search_terms(row)))
    search = f' data-q="{terms}"' if terms else ""
    return (
        f'<li id={row.code} class="{" ".join(_tokens(row, status))}"{search}>'
        f'<a href="{escape(address)}">{_picture(row, gallery.pictured)}'
        f"<b>{escape(row.name)}</b> <i>{row.code}</i>{mark}</a>\n"
    )


def _picture(row: CatalogRow, pictured: Collection[str]) -> str:
    if not (row.sha256 in pictured and row.width_px and row.height_px):
        return "<span>no flag</span>"
    width, height = thumbnail_size(row.width_px, row.height_px, is_vector=row.format == VECTOR)
    return f"<img src={thumbnail_address(row.sha256)} width={width} height={height} alt loading=lazy>"


def _tokens(row: CatalogRow, status: str) -> Iterator[str]:
    yield css_token(status)
    if row.width_px and row.width_px <= TINY_PX and row.format != VECTOR:
        yield "tiny"
    if row.aspect_decimal:
        yield css_token(ratio_group(row.aspect_decimal))
    yield from map(css_token, colour_families(row))


def _search_terms(row: CatalogRow) -> Iterator[str]:
    """Yield what the search finds besides the name, the code and the domain `.code`."""
    yield from filter(None, (row.alpha_3, row.numeric, row.official_name))
    yield from (name for name in other_names(row.code) if name not in {row.name, row.official_name})
    if row.tld != f".{row.code.lower()}":
        yield row.tld
