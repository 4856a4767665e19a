"""Structure of an undecoded image, and decoding limits."""

from dataclasses import dataclass

from flag_pipeline.errors import ImageError

Box = tuple[int, int, int, int]


# CPU time at the default limits. The slowest known image takes 1.0 s: a WebP with 1 MB of code tables.
MAX_DECODING_S = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Decoding limits, because a running decoder cannot be stopped.

    CPU time grows with `max_pixels` x `max_scans` and the body's size.

    Attributes:
        max_scans: passes over a JPEG. libjpeg-turbo recommends about 100 (LJT-01-005).
    """

    max_pixels: int = 4_000_000
    max_scans: int = 100
    max_frames: int = 500


@dataclass(frozen=True, slots=True)
class Structure:
    """What an image's blocks state.

    Attributes:
        size: before the orientation is applied.
        n_pixels: of all decoded frames.
        n_frames: that browsers show.
        size_bytes: with the further pictures of a JPEG.
        drawing: without text, EXIF data and profiles: 1 MB of PNG can unpack to 1 GB of them.
        box: left, top, right and bottom of the first frame.
        orientation: EXIF, 1 to 8.
        bits: per sample of a PNG.
    """

    format: str
    size: tuple[int, int]
    n_pixels: int
    n_frames: int
    size_bytes: int
    drawing: bytes
    box: Box
    n_scans: int = 1
    orientation: int = 1
    bits: int = 8

    @property
    def size_shown(self) -> tuple[int, int]:
        """Width and height; orientations 5 to 8 swap them."""
        width, height = self.size
        return (height, width) if self.orientation >= 5 else (width, height)  # noqa: PLR2004

    def check(self, limits: Limits) -> None:
        """Raise ImageError if the image exceeds *limits*."""
        width, height = self.size
        for actual, most, unit, setting in (
            (self.n_pixels, limits.max_pixels, "pixels", "FLAG_MAX_PIXELS"),
            (self.n_scans, limits.max_scans, "scans", "FLAG_MAX_SCANS"),
            (self.n_frames, limits.max_frames, "frames", "FLAG_MAX_FRAMES"),
        ):
            if actual > most:
                raise ImageError(
                    f"the {self.format} of {width}x{height} has {actual} {unit}, more than {most} {unit}: "
                    f"raise {setting} to accept it"
                )
