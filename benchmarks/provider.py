"""A source for the benchmarks: any number of synthetic countries, each with a different GIF, of any size.

`python -m benchmarks.provider --countries 1000` serves them on 127.0.0.1 and prints the base URL, as
`flag-pipeline mirror` does for the packaged flags.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from flag_pipeline.core.countries import iso_codes, iso_country
from flag_pipeline.core.mirror import Mirror, packaged_flags, serving
from flag_pipeline_tests.pictures import scans

# Bytes 11 to 13 of a GIF application extension are the application's own; readers skip its blocks.
_EXTENSION = b"!\xff\x0bBENCHMARK01"
_BLOCK = 255


def synthetic_codes(n_countries: int) -> list[str]:
    """Return *n_countries* codes, sorted: those of ISO 3166-1 first to be taken, then X0000, X0001 and so on."""
    extra = (f"X{number:04d}" for number in range(max(0, n_countries - len(iso_codes()))))
    return sorted([*iso_codes()[:n_countries], *extra])


class SyntheticFlags:
    """A packaged GIF for every code, made unique, and padded to *size_bytes* with a block that readers skip.

    The country *hostile*, if given, has a JPEG of thousands of scans instead. All are made before the server starts,
    because otherwise making them would be measured.
    """

    def __init__(self, codes: list[str], *, size_bytes: int = 0, hostile: str = "") -> None:
        gif = _any_packaged_gif()
        self._flags = {cc: padded_gif(gif, cc, size_bytes) for cc in map(str.lower, codes)}
        if hostile:
            self._flags[hostile.lower()] = _slow_jpeg()

    async def flag(self, cc: str, extension: str = "gif") -> bytes | None:
        """The GIF of that country; there are no SVGs."""
        return self._flags.get(cc) if extension == "gif" else None

    async def metadata(self, cc: str) -> bytes | None:
        """A metadata document in the book's layout."""
        if cc not in self._flags:
            return None
        document = {"country": iso_country(cc.upper()).name, "iso_cc": cc.upper(), "tld_cc": ".xx"}
        return json.dumps(document).encode()


def _slow_jpeg() -> bytes:
    # 29 kB that take more than a second to decode. The scans of the picture itself, which stand between its header and
    # the table of the slow ones, are left out, because they are as long as all others together.
    jpeg = scans(2200, side=1440)
    return jpeg[: jpeg.index(b"\xff\xda")] + jpeg[jpeg.rindex(b"\xff\xc4") :]


@cache
def _any_packaged_gif() -> bytes:
    return Path(packaged_flags()["cn"]).read_bytes()


def padded_gif(gif: bytes, name: str, size_bytes: int) -> bytes:
    """Return *gif* with *name* in it, about *size_bytes* long but not shorter than it needs to be."""
    body, end = gif[:-1], gif[-1:]
    padding = name.encode().ljust(max(len(name), size_bytes - len(gif) - len(_EXTENSION)), b"\0")
    blocks = b"".join(bytes([len(block)]) + block for block in _cut(padding[: len(padding) * _BLOCK // (_BLOCK + 1)]))
    return body + _EXTENSION + blocks + b"\0" + end


def _cut(padding: bytes) -> Iterator[bytes]:
    yield from (padding[start : start + _BLOCK] for start in range(0, len(padding), _BLOCK))


async def _serve(n_countries: int, size_bytes: int, delay_s: float, hostile: str) -> None:
    provider = SyntheticFlags(synthetic_codes(n_countries), size_bytes=size_bytes, hostile=hostile)
    async with serving(Mirror(provider, delay_s=delay_s)) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--countries", type=int, default=249)
    parser.add_argument("--size-bytes", type=int, default=0)
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--hostile", default="", help="A country that is answered with a JPEG of thousands of scans.")
    given = parser.parse_args()
    asyncio.run(_serve(given.countries, given.size_bytes, given.delay_s, given.hostile))


if __name__ == "__main__":
    main()
