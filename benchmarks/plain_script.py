"""The same work without Dagster: aiohttp, `gather` and `run_in_executor`, as a script of an afternoon.

For each country it fetches metadata and flag, checks that the metadata is JSON of that country and that Pillow can
decode the flag, and saves both and a record, each synced to the disk with its folder. It has no retries, no limits and
no history. With `--conditional` it asks only for what has changed since the last time. With `--catalog` it also makes
the files of our derived assets, with the same functions of `core/`, from what it has in memory.

    python plain_script.py [--catalog] [--conditional] URL FOLDER MAX_REQUESTS CODE...

A code `@file` stands for the codes in that file.

It prints the seconds that fetching, checking and saving took, without its own start-up and the catalog.
"""

import argparse
import asyncio
import hashlib
import io
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from PIL import Image, ImageSequence


def save(target: Path, content: bytes) -> None:
    """Write *content* beside *target*, sync it to the disk, and rename it to *target*."""
    descriptor, temporary = tempfile.mkstemp(dir=target.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def check_and_save(folder: Path, code: str, metadata: bytes, flag: bytes, etags: list[str]) -> tuple[int, int]:
    """Decode the flag, save all that there is of a country, and return the flag's size in pixels."""
    with Image.open(io.BytesIO(flag), formats=["GIF"]) as image:
        for frame in ImageSequence.Iterator(image):
            frame.load()
        width, height = image.size
    record = {
        "code": code,
        "sha256": hashlib.sha256(flag).hexdigest(),
        "width": width,
        "height": height,
        "etags": etags,
    }
    save(folder / "metadata" / f"{code}.json", metadata)
    save(folder / "flags" / f"{code}.gif", flag)
    save(folder / "records" / f"{code}.json", json.dumps(record).encode())
    return width, height


@dataclass(frozen=True, slots=True)
class Fetched:
    """A flag, in memory, and its size in pixels."""

    code: str
    flag: bytes
    size: tuple[int, int]


def known_etags(folder: Path, code: str) -> list[str]:
    """Return the ETags of the country's document and flag, which are in its record."""
    etags: list[str] = json.loads((folder / "records" / f"{code}.json").read_bytes())["etags"]
    return etags


async def fetch_all(
    url: str, folder: Path, max_requests: int, codes: list[str], *, conditional: bool = False
) -> list[Fetched]:
    """Fetch and save every country; the first error ends the script. Leave out what is unchanged if *conditional*."""
    for part in ("metadata", "flags", "records"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    limiter = asyncio.Semaphore(max_requests)
    loop = asyncio.get_running_loop()

    async def body_of(session: aiohttp.ClientSession, path: str, etag: str) -> tuple[bytes, str]:
        headers = {"If-None-Match": etag} if etag else {}
        async with limiter, session.get(f"{url}/{path}", headers=headers) as reply:
            reply.raise_for_status()
            return await reply.read(), reply.headers.get("ETag", "")

    async def fetch(session: aiohttp.ClientSession, executor: ThreadPoolExecutor, code: str) -> Fetched | None:
        cc = code.lower()
        known = await loop.run_in_executor(executor, known_etags, folder, code) if conditional else ["", ""]
        metadata, metadata_etag = await body_of(session, f"{cc}/metadata.json", known[0])
        flag, flag_etag = await body_of(session, f"{cc}/{cc}.gif", known[1])
        if conditional and not flag:
            return None
        if json.loads(metadata or (folder / "metadata" / f"{code}.json").read_bytes())["iso_cc"].upper() != code:
            raise ValueError(f"{code}: metadata of another country")
        etags = [metadata_etag, flag_etag]
        size = await loop.run_in_executor(executor, check_and_save, folder, code, metadata, flag, etags)
        return Fetched(code, flag, size)

    with ThreadPoolExecutor(4) as executor:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=max_requests)) as session:
            fetched = await asyncio.gather(*(fetch(session, executor, code) for code in codes))
    return [country for country in fetched if country is not None]


def build_catalog(folder: Path, countries: list[Fetched]) -> None:
    """Make tables, contact sheet and page of what was fetched."""
    # A script that only fetches does not import these.
    from flag_pipeline.catalog import contact_sheet
    from flag_pipeline.catalog.gallery import render_page
    from flag_pipeline.catalog.gallery_content import Gallery, sheet_of
    from flag_pipeline.catalog.history import CHANGES_SCHEMA
    from flag_pipeline.catalog.rows import CATALOG_SCHEMA, catalog_rows
    from flag_pipeline.catalog.tables import render_table
    from flag_pipeline.core.countries import iso_country
    from flag_pipeline.core.layout import CATALOG, CONTACT_SHEET_PATH, HISTORY, thumbnail_path
    from flag_pipeline.core.models import FlagRecord, StoredImage
    from flag_pipeline.fetching.models import Validators
    from flag_pipeline.images.features import describe_features
    from flag_pipeline.images.thumbnails import draw_thumbnail

    now = datetime.now(UTC)
    records, features, content = {}, {}, {}
    for country in countries:
        code, flag, (width, height) = country.code, country.flag, country.size
        sha256, file = hashlib.sha256(flag).hexdigest(), f"flags/{code}.gif"
        image = StoredImage(file, "gif", width, height, len(flag), sha256, "", now, now, Validators())
        records[code] = FlagRecord(code, image=image, country=iso_country(code))
        features[sha256], content[code] = describe_features(flag), flag
    rows = catalog_rows(records, records, features)
    thumbnails = {row.sha256: draw_thumbnail(content[row.code]) for row in rows}
    sha256_of = {row.code: row.sha256 for row in rows}
    files = {
        **{thumbnail_path(sha256): thumbnail for sha256, thumbnail in thumbnails.items()},
        **dict(render_table(CATALOG_SCHEMA, CATALOG, rows)),
        **dict(render_table(CHANGES_SCHEMA, HISTORY, [])),
        CONTACT_SHEET_PATH: contact_sheet.render_contact_sheet(
            sheet_of(rows, thumbnails), lambda code: contact_sheet.sheet_tile(thumbnails[sha256_of[code]])
        ),
        **render_page(Gallery(rows, pictured=thumbnails)),
    }
    for path, rendered in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        save(folder / path, rendered)


def main() -> None:
    """Fetch, print how long that took, and derive the catalog if it is wanted."""
    parser = argparse.ArgumentParser(fromfile_prefix_chars="@")
    parser.add_argument("--catalog", action="store_true")
    parser.add_argument("--conditional", action="store_true")
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("max_requests", type=int)
    parser.add_argument("codes", nargs="+")
    given = parser.parse_args()
    started_at = time.perf_counter()
    fetching = fetch_all(given.url, given.folder, given.max_requests, given.codes, conditional=given.conditional)
    countries = asyncio.run(fetching)
    print(json.dumps({"fetching_s": time.perf_counter() - started_at}))
    if given.catalog:
        build_catalog(given.folder, countries)


if __name__ == "__main__":
    main()
