"""How much work a picture announces to be, and the limits of it, by which it is refused before it is decoded."""

from dataclasses import dataclass

from flag_pipeline.errors import ImageError

Box = tuple[int, int, int, int]


# Processor time for one picture at the default limits and the default size of a body. The slowest ones that we could
# build take half of it: 1.0 s for a WebP of 1 MB that is nothing but code tables, 0.4 s for a JPEG of 260,000 empty
# segments, 0.2 s for a JPEG of 4 million pixels in 100 scans and for a PNG of as many pixels of 16 bits.
MAX_DECODING_S = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The most work that a picture may be; more is refused before anything is decoded.

    Nothing can stop a decoder on its way, so this is the deadline of a picture: MAX_DECODING_S of processor time. It
    grows in proportion to `max_pixels` x `max_scans` and to the largest body.

    Attributes:
        max_pixels: width x height, summed over the frames.
        max_scans: passes over a JPEG. libjpeg-turbo advises to allow about 100 (LJT-01-005); usual files have 10.
        max_frames: each costs time, however few pixels it has.
    """

    max_pixels: int = 4_000_000
    max_scans: int = 100
    max_frames: int = 500


@dataclass(frozen=True, slots=True)
class Structure:
    """What a picture's blocks say.

    Attributes:
        format: `gif`, `png`, `jpeg` or `webp`.
        size: width and height as stored, before it is turned.
        n_pixels: of the canvas, summed over the frames that a decoder draws.
        n_frames: frames that a browser shows.
        size_bytes: where the picture ends, the further pictures of a JPEG's index included.
        drawing: the blocks that draw the picture, which a decoder can read alone.
        n_scans: passes that a decoder makes over the picture.
        orientation: as EXIF counts it, 1 to 8; 1 is upright.
        bits: of a sample, in a PNG.
        box: left, top, right and bottom of the first frame on the canvas.
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
        """Width and height as a browser shows it: orientations from 5 on lie on their side."""
        width, height = self.size
        return (height, width) if self.orientation >= 5 else (width, height)  # noqa: PLR2004

    def check(self, limits: Limits) -> None:
        """Raise ImageError, which names the setting to raise, if the picture is more work than *limits* allow."""
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
