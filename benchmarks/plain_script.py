"""The same work without Dagster: aiohttp, `gather` and `run_in_executor`, as one would write it in an afternoon.

For each country it fetches metadata and flag, checks that the one is JSON of that country and that Pillow can decode
all of the other, and saves both and a record of them, each pushed to the disk with its folder. It knows no retries, no
limits, no conditional requests, no history, no look of a flag and no catalog.

    python plain_script.py URL FOLDER MAX_REQUESTS CODE...

It prints the seconds that fetching, checking and saving took, without its own start-up.
"""

import asyncio
import hashlib
import io
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
from PIL import Image, ImageSequence


def save(target: Path, content: bytes) -> None:
    """Write *content* beside *target*, push it to the disk, and put it in place in one step."""
    descriptor, temporary = tempfile.mkstemp(dir=target.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def check_and_save(folder: Path, code: str, metadata: bytes, flag: bytes) -> None:
    """Decode the flag, and save all that there is of a country."""
    with Image.open(io.BytesIO(flag), formats=["GIF"]) as image:
        for frame in ImageSequence.Iterator(image):
            frame.load()
        width, height = image.size
    record = {"code": code, "sha256": hashlib.sha256(flag).hexdigest(), "width": width, "height": height}
    save(folder / "metadata" / f"{code}.json", metadata)
    save(folder / "flags" / f"{code}.gif", flag)
    save(folder / "records" / f"{code}.json", json.dumps(record).encode())


async def fetch_all(url: str, folder: Path, max_requests: int, codes: list[str]) -> None:
    """Fetch and save every country; the first error ends it all."""
    for part in ("metadata", "flags", "records"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    gate = asyncio.Semaphore(max_requests)
    loop = asyncio.get_running_loop()

    async def body_of(session: aiohttp.ClientSession, path: str) -> bytes:
        async with gate, session.get(f"{url}/{path}") as reply:
            reply.raise_for_status()
            return await reply.read()

    async def fetch(session: aiohttp.ClientSession, executor: ThreadPoolExecutor, code: str) -> None:
        cc = code.lower()
        metadata = await body_of(session, f"{cc}/metadata.json")
        if json.loads(metadata)["iso_cc"].upper() != code:
            raise ValueError(f"{code}: metadata of another country")
        flag = await body_of(session, f"{cc}/{cc}.gif")
        await loop.run_in_executor(executor, check_and_save, folder, code, metadata, flag)

    with ThreadPoolExecutor(4) as executor:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=max_requests)) as session:
            await asyncio.gather(*(fetch(session, executor, code) for code in codes))


def main() -> None:
    """Fetch, and print how long that took."""
    url, folder, max_requests, *codes = sys.argv[1:]
    started_at = time.perf_counter()
    asyncio.run(fetch_all(url, Path(folder), int(max_requests), codes))
    print(json.dumps({"fetching_s": time.perf_counter() - started_at}))


if __name__ == "__main__":
    main()
