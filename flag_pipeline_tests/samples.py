"""Real and made-up values that several tests need."""

import io
from datetime import UTC, datetime
from functools import cache

from PIL import Image

from flag_pipeline.core.countries import iso_codes, iso_country
from flag_pipeline.core.layout import flag_path
from flag_pipeline.core.mirror import packaged_flags
from flag_pipeline.core.models import FlagRecord, StoredImage, StoredMetadata
from flag_pipeline.core.presets import ANY_FORMAT
from flag_pipeline.core.records import country_sha256
from flag_pipeline.fetching.models import Validators
from flag_pipeline.images.inspection import inspect_image
from flag_pipeline.images.models import FlagImage
from flag_pipeline.images.structure import Limits

# Samples are made on event loops, where nothing may be read: the standard's tables are read here.
iso_codes()

MOMENT = datetime(2026, 11, 23, 12, 30, 15, 123000, tzinfo=UTC)


_FLAGS = packaged_flags()


@cache
def gif(code: str = "CN") -> bytes:
    """The packaged flag of a country."""
    return _FLAGS[code.lower()].read_bytes()


def picture(kind: str = "PNG", *, size: tuple[int, int] = (8, 4), mode: str = "RGB", frames: int = 1) -> bytes:
    """A picture of the given format, a new colour a frame."""
    images = [Image.new(mode, size, color=number * 40) for number in range(1, frames + 1)]
    buffer = io.BytesIO()
    rest = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    images[0].save(buffer, kind, **rest)
    return buffer.getvalue()


def flag(content: bytes | None = None) -> FlagImage:
    """An accepted image."""
    content = content or gif()
    return inspect_image(content, formats=ANY_FORMAT, limits=Limits(max_pixels=10**7))


def record(code: str = "CN", *, name: str = "", image: FlagImage | None = None) -> FlagRecord:
    """What a store knows about a country after a successful refresh."""
    country, image = iso_country(code), image or flag()
    stored = StoredImage(
        file=flag_path(code, name or country.name, image.format),
        format=image.format,
        width_px=image.width_px,
        height_px=image.height_px,
        size_bytes=len(image.content),
        sha256=image.sha256,
        source_url=f"http://x/{code.lower()}.gif",
        fetched_at=MOMENT,
        changed_at=MOMENT,
        validators=Validators('"e"', "Mon, 23 Nov 2026 12:00:00 GMT"),
        derived=image.derived,
    )
    metadata = StoredMetadata(country_sha256(country), "http://x/metadata.json", Validators())
    return FlagRecord(code, image=stored, metadata=metadata, country=country)
