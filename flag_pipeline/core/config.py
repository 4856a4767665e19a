"""Settings of a source of flags: which source, limits of images, when a run fails."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from flag_pipeline.core.countries import EXTRA_CODE, iso_codes
from flag_pipeline.core.presets import PRESETS, find_preset
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.fetching.config import CommaSeparated, HttpSettings
from flag_pipeline.images.rendition_names import Rendition, RenditionFormat, parse_rendition
from flag_pipeline.images.structure import Limits


def _known_source(source: str) -> str:
    try:
        find_preset(source)
    except ConfigurationError as exc:
        raise ValueError(str(exc)) from exc
    return source


def _extra_code(code: str) -> str:
    if not EXTRA_CODE.fullmatch(code.upper()):
        raise ValueError(f"{code.upper()!r} is not a code: letters and digits, 2 to 8 of them")
    return code.upper()


Source = Annotated[str, AfterValidator(_known_source)]
ExtraCode = Annotated[str, AfterValidator(_extra_code)]
RenditionName = Annotated[str, AfterValidator(lambda name: parse_rendition(name).name)]


class SourceSettings(HttpSettings):
    """Where flags come from, and what is accepted from there."""

    source: Source = Field(
        "embedded",
        description=f"A preset ({', '.join(PRESETS)}) or the http(s) base URL of the book's layout.",
    )
    sweep_timeout_s: float = Field(1800.0, gt=0, description="Seconds for all countries of a run together.")
    revalidate_days: float = Field(
        30.0,
        ge=0,
        description="Days after which a file without a strong ETag is fetched in full, whatever its date says.",
    )
    max_lost_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the stored flags that the source may suddenly lack, if more than 3, before a run fails.",
    )
    max_pixels: int = Field(4_000_000, ge=1, le=80_000_000, description="Largest image, in pixels over all its frames.")
    max_scans: int = Field(
        100, ge=1, le=10_000, description="Scans of a JPEG: each is a pass over all its pixels; usual files have 10."
    )
    max_frames: int = Field(500, ge=1, le=10_000, description="Frames of an animated image.")

    @property
    def image_limits(self) -> Limits:
        """What an image may cost to decode."""
        return Limits(max_pixels=self.max_pixels, max_scans=self.max_scans, max_frames=self.max_frames)

    def codes(self, extra: Iterable[str] = ()) -> list[str]:
        """Return ISO 3166-1 and *extra*, without codes that the source lacks, sorted."""
        return sorted({*iso_codes(), *extra} - find_preset(self.source).lacks)


class DerivedSettings(BaseModel):
    """What is made from the stored flags besides the catalog."""

    renditions: CommaSeparated[RenditionName] = Field(
        default_factory=list,
        description=(
            "Sizes and shapes to make of each flag, separated by commas, such as w160,square64,circle64,pad64; unset "
            "means none."
        ),
    )
    rendition_format: RenditionFormat = Field(RenditionFormat.PNG, description="`png`, or `webp` without loss.")
    releases_keep: int = Field(3, ge=1, le=1000, description="Releases that are kept.")

    @property
    def wanted_renditions(self) -> tuple[Rendition, ...]:
        """The named renditions, each once, sorted by name."""
        return tuple(parse_rendition(name) for name in sorted(set(self.renditions)))
