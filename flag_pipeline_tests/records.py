"""Records and pictures made up for tests."""

import hashlib
import io
from datetime import UTC, datetime

from PIL import Image

from flag_pipeline.core.countries import iso_country
from flag_pipeline.core.models import FlagChange, FlagRecord, LastFailure, StoredImage
from flag_pipeline.fetching.models import Validators
from flag_pipeline.images.features import describe_features
from flag_pipeline.images.models import ImageFeatures

MORNING = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)


def striped(*colours: str, kind: str = "PNG", size: tuple[int, int] = (30, 20)) -> bytes:
    """A flag of horizontal stripes."""
    flag = Image.new("RGB", size)
    height = size[1] // len(colours)
    for number, colour in enumerate(colours):
        flag.paste(colour, (0, number * height, size[0], (number + 1) * height))
    buffer = io.BytesIO()
    flag.save(buffer, kind)
    return buffer.getvalue()


def record_of(
    code: str, content: bytes | None = None, *, last_failure: LastFailure | None = None, name: str = ""
) -> FlagRecord:
    """A stored country with that PNG as its flag, or with none."""
    country = iso_country(code)
    if name:
        country = type(country)(code, name, country.official_name, country.alpha_3, country.numeric, country.tld)
    image = stored(code, content) if content else None
    return FlagRecord(code, image=image, country=country, last_failure=last_failure)


def stored(code: str, content: bytes) -> StoredImage:
    """What a record says about that PNG."""
    with Image.open(io.BytesIO(content)) as image:
        width_px, height_px = image.size
    return StoredImage(
        file=f"flags/{code}-x.png",
        format="png",
        width_px=width_px,
        height_px=height_px,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        source_url=f"https://flags.example/{code.lower()}.png",
        fetched_at=MORNING,
        changed_at=MORNING,
        validators=Validators(),
        first_seen_at=MORNING,
    )


def features_by_sha256(*contents: bytes) -> dict[str, ImageFeatures]:
    """Return the features of these flags by their SHA-256."""
    return {hashlib.sha256(content).hexdigest(): describe_features(content) for content in contents}


def change_of(code: str, number: int = 0) -> FlagChange:
    """A change like any other."""
    return FlagChange(
        code=code,
        changed_at=MORNING.replace(minute=number),
        old_sha256=f"{number:064x}",
        new_sha256=f"{number + 1:064x}",
        old_size_bytes=100,
        new_size_bytes=101,
        distance_bits=12,
        old_source_url=f"https://flags.example/{code.lower()}.png",
        source_url=f"https://flags.example/{code.lower()}.png",
        old_file=f"history/{code}/{number:064x}.png",
    )
