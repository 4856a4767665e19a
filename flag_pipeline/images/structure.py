"""The structure of an image, read without decoding, and the limits for decoding it."""

from dataclasses import dataclass

from flag_pipeline.errors import ImageError

Box = tuple[int, int, int, int]


# CPU time at the default limits and body size. The slowest known images: WebP with 1 MB of code tables 1.0 s, JPEG with
# 260,000 empty segments 0.4 s, JPEG with 4 million pixels in 100 scans or PNG with 4 million 16-bit pixels 0.2 s.
MAX_DECODING_S = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the images that are decoded; they replace a timeout, because a running decoder cannot be stopped.

    CPU time is at most MAX_DECODING_S. It grows with `max_pixels` x `max_scans` and with the size of the body.

    Attributes:
        max_pixels: width x height, summed over the frames.
        max_scans: passes over a JPEG. libjpeg-turbo recommends about 100 (LJT-01-005).
        max_frames: because frames of few pixels cost time too.
    """

    max_pixels: int = 4_000_000
    max_scans: int = 100
    max_frames: int = 500


@dataclass(frozen=True, slots=True)
class Structure:
    """What an image's blocks state.

    Attributes:
        format: a name of `formats.FORMATS`.
        size: width and height as stored, before the orientation is applied.
        n_pixels: pixels of the canvas, summed over all decoded frames.
        n_frames: frames that a browser shows.
        size_bytes: with the further pictures of a JPEG.
        drawing: the image without text, profiles and EXIF data, which Pillow would unpack (a PNG of 1 MB can have a
            thousand profiles of 1 MB).
        box: left, top, right and bottom of the first frame on the canvas.
        n_scans: passes that a decoder makes over the image.
        orientation: EXIF orientation, 1 to 8; 1 is upright.
        bits: bits per sample of a PNG.
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
        """Width and height as a browser shows the image: orientations 5 to 8 swap them."""
        width, height = self.size
        return (height, width) if self.orientation >= 5 else (width, height)  # noqa: PLR2004

    def check(self, limits: Limits) -> None:
        """Raise ImageError, which names the setting, if the image exceeds *limits*."""
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
