"""Fetch the same flags with other programs; run by a Python that has them, which need not have ours.

    python peers.py scrapy URL FOLDER CODES_FILE
    python peers.py img2dataset URL FOLDER CODES_FILE

Scrapy's FilesPipeline stores flags and documents, img2dataset flags alone. Neither checks names or keeps records.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REQUESTS = 32


def fetch_with_scrapy(url: str, folder: Path, codes: list[str]) -> None:
    """Store the files of all *codes* with Scrapy's FilesPipeline."""
    import scrapy
    from scrapy.crawler import CrawlerProcess

    class Flags(scrapy.Spider):  # type: ignore[misc, unused-ignore]
        name = "flags"

        async def start(self) -> Any:
            yield scrapy.Request(f"{url}/{codes[0].lower()}/metadata.json")

        def parse(self, _response: Any) -> Iterator[dict[str, list[str]]]:
            for cc in map(str.lower, codes):
                yield {"file_urls": [f"{url}/{cc}/{cc}.gif", f"{url}/{cc}/metadata.json"]}

    process = CrawlerProcess(
        {
            "ITEM_PIPELINES": {"scrapy.pipelines.files.FilesPipeline": 1},
            "FILES_STORE": str(folder),
            "CONCURRENT_REQUESTS": REQUESTS,
            "CONCURRENT_REQUESTS_PER_DOMAIN": REQUESTS,
            "DOWNLOAD_DELAY": 0,
            "LOG_LEVEL": "ERROR",
            "TELNETCONSOLE_ENABLED": False,
        }
    )
    process.crawl(Flags)
    process.start()
    _check(folder, "full/*", 2 * len(codes))


def fetch_with_img2dataset(url: str, folder: Path, codes: list[str]) -> None:
    """Store the flags of all *codes* with img2dataset."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import img2dataset

    folder.mkdir(parents=True)
    listed = folder / "urls.txt"
    listed.write_text("".join(f"{url}/{cc}/{cc}.gif\n" for cc in map(str.lower, codes)))
    img2dataset.download(
        url_list=str(listed),
        output_folder=str(folder / "images"),
        processes_count=os.cpu_count() or 1,
        thread_count=REQUESTS,
        resize_mode="no",
        number_sample_per_shard=max(1, len(codes) // (os.cpu_count() or 1)),
        enable_wandb=False,
    )
    _check(folder, "images/*/*.jpg", len(codes))


def _check(folder: Path, pattern: str, n_expected: int) -> None:
    n_found = sum(1 for _ in folder.glob(pattern))
    if n_found != n_expected:
        raise SystemExit(f"{n_found} files instead of {n_expected}")


def main() -> None:
    """Fetch with the named program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=["scrapy", "img2dataset"])
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("codes", type=Path)
    given = parser.parse_args()
    fetch = {"scrapy": fetch_with_scrapy, "img2dataset": fetch_with_img2dataset}[given.program]
    fetch(given.url, given.folder, given.codes.read_text().split())


if __name__ == "__main__":
    main()
