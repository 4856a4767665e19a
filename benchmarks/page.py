"""Measures the page of thousands of countries in Chromium: `python -m benchmarks.page 5000 10000`.

Prints the bytes of the page, and medians of three visits: the milliseconds until the first paint, and those that the
slowest of several searches takes until the page is drawn again.
"""

import argparse
import hashlib
import io
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from flag_pipeline.catalog.gallery import render_page
from flag_pipeline.catalog.gallery_content import Gallery
from flag_pipeline.catalog.rows import catalog_rows
from flag_pipeline.core.layout import GALLERY_PATH, flag_path, thumbnail_path
from flag_pipeline.core.models import Country, FlagRecord, StoredImage
from flag_pipeline.fetching.models import Validators
from flag_pipeline.images.features import describe_features
from flag_pipeline.images.thumbnails import draw_thumbnail
from flag_pipeline_tests.e2e.browser import ARGUMENTS, chromium

VISITS, SEARCHES = 3, ("0", "00", "001", "0012", "")

SEARCH = """async (text) => {
  const field = document.getElementById("search"), start = performance.now();
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def write_page(folder: Path, n_countries: int) -> int:
    """Write the page of so many countries, each with another flag; return the bytes of the HTML."""
    records, features, now = {}, {}, datetime.now(UTC)
    files: dict[str, bytes] = {}
    for number in range(n_countries):
        code, name, flag = f"{number:05d}", f"Country {number}", draw_flag(number)
        sha256 = hashlib.sha256(flag).hexdigest()
        file = flag_path(code, name, "png")
        image = StoredImage(file, "png", 300, 200, len(flag), sha256, "", now, now, Validators())
        records[code] = FlagRecord(code, image=image, country=Country(code, name, "", "", "", f".{code}"))
        features[sha256] = describe_features(flag)
        files |= {file: flag, thumbnail_path(sha256): draw_thumbnail(flag)}
    page = render_page(Gallery(catalog_rows([], records, features), pictured=features))
    for path, content in (files | page).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return len(page[GALLERY_PATH])


def draw_flag(number: int) -> bytes:
    """Return a flag of three stripes, different for each number."""
    flag = Image.new("RGB", (300, 200), "white")
    flag.paste((number % 256, number // 256, 96), (0, 0, 300, 70))
    flag.paste((255 - number % 256, 64, number // 256), (0, 130, 300, 200))
    buffer = io.BytesIO()
    flag.save(buffer, "PNG")
    return buffer.getvalue()


def visit(browser: Browser, address: str) -> tuple[float, float]:
    """Return the milliseconds until the first paint, and those of the slowest search."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(address)
    paint_ms = page.evaluate(PAINT)
    search_ms = max(page.evaluate(SEARCH, text) for text in SEARCHES)
    page.close()
    return paint_ms, search_ms


def main() -> None:
    """Measure the pages of the given numbers of countries."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_countries", type=int, nargs="*", default=[5000, 10_000])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        for n_countries in parser.parse_args().n_countries:
            with tempfile.TemporaryDirectory() as folder:
                size_bytes = write_page(Path(folder), n_countries)
                visits = [visit(browser, (Path(folder) / GALLERY_PATH).as_uri()) for _ in range(VISITS)]
            paint_ms, search_ms = (statistics.median(times) for times in zip(*visits, strict=True))
            print(f"{n_countries}: {size_bytes:,} bytes, first paint {paint_ms:.0f} ms, search {search_ms:.0f} ms")
        browser.close()


if __name__ == "__main__":
    main()
