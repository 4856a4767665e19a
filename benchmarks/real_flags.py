"""A source with flags of real size, in the book's layout: `python -m benchmarks.real_flags FOLDER N`.

Each is a GIF of 400x268 pixels and about 12 kB, as the book's flags are, and no two are alike. Drawing takes 2 ms each.
"""

import argparse
import hashlib
import io
import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

from benchmarks.provider import synthetic_codes
from flag_pipeline.core.countries import iso_country

SIZE_PX = (400, 268)
# The side of the square with a detailed coat of arms, which makes most of the file.
_ARMS_PX = 96


def draw_flag(code: str, version: int = 0) -> bytes:
    """Return a flag of stripes with a detailed square in its middle; another *version* has other bytes."""
    # Not `hash`, which differs between processes.
    seed = int.from_bytes(hashlib.sha256(f"{code} {version}".encode()).digest()[:8])
    chosen = random.Random(seed)  # noqa: S311 - pictures, not secrets
    flag = Image.new("P", SIZE_PX)
    flag.putpalette(bytes(chosen.randrange(256) for _ in range(3 * 64)))
    draw = ImageDraw.Draw(flag)
    height = SIZE_PX[1] / 3
    for stripe in range(3):
        draw.rectangle((0, stripe * height, SIZE_PX[0], (stripe + 1) * height), fill=stripe)
    arms = Image.frombytes("P", (_ARMS_PX, _ARMS_PX), bytes(byte & 63 for byte in chosen.randbytes(_ARMS_PX**2)))
    flag.paste(arms, ((SIZE_PX[0] - _ARMS_PX) // 2, (SIZE_PX[1] - _ARMS_PX) // 2))
    buffer = io.BytesIO()
    flag.save(buffer, "GIF", optimize=False)
    return buffer.getvalue()


def write_flag(folder: Path, code: str, version: int = 0) -> None:
    """Write a country's flag into the folder of a web server."""
    cc = code.lower()
    (folder / cc / f"{cc}.gif").write_bytes(draw_flag(code, version))


def write_site(folder: Path, codes: list[str]) -> None:
    """Write the flags and documents of all *codes*."""
    for code in codes:
        cc = code.lower()
        (folder / cc).mkdir(parents=True)
        document = {"country": iso_country(code).name, "iso_cc": code, "tld_cc": ".xx"}
        (folder / cc / "metadata.json").write_text(json.dumps(document), encoding="utf-8")
        write_flag(folder, code)


def main() -> None:
    """Write a site."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("n_countries", type=int)
    given = parser.parse_args()
    write_site(given.folder, synthetic_codes(given.n_countries))


if __name__ == "__main__":
    main()
