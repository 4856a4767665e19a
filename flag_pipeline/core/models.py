"""The values that travel through the pipeline: frozen, slotted, and free of behaviour with side effects."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from flag_pipeline import bounds
from flag_pipeline.errors import ErrorKind


@dataclass(frozen=True, slots=True)
class Country:
    """What a source says about one country, completed from ISO 3166-1 and checked.

    Attributes:
        code: ISO 3166-1 alpha-2, upper case.
        name: the source's name for it; printable, at most 100 characters.
        official_name: the state's official name, empty where ISO 3166-1 gives none.
        alpha_3: ISO 3166-1 alpha-3, empty for codes outside the standard (XK, EU).
        numeric: ISO 3166-1 numeric, three digits, empty outside the standard.
        tld: country-code top-level domain with its dot, `.cn`.
    """

    code: bounds.Code
    name: bounds.Name
    official_name: bounds.Line
    alpha_3: bounds.Alpha3
    numeric: bounds.Numeric
    tld: bounds.Tld


@dataclass(frozen=True, slots=True)
class ColourShare:
    """One of an image's dominant colours.

    Attributes:
        hex: `#rrggbb`, lower case.
        share: of the visible pixels, 0 to 1, with three decimals.
    """

    hex: bounds.HexColour
    share: bounds.Share


@dataclass(frozen=True, slots=True)
class ImageLook:
    """What an image looks like, computed from its bytes.

    Attributes:
        mode: Pillow's word for how a pixel is stored, `P` or `RGBA`.
        colours: the dominant ones, largest share first, at most five.
        phash: 64-bit perceptual hash in 16 hex digits; similar pictures differ in few bits.
    """

    mode: str
    n_frames: int
    colours: tuple[ColourShare, ...]
    phash: str


@dataclass(frozen=True, slots=True)
class FlagImage:
    """A whole, decoded and accepted image, still as the bytes that came.

    Attributes:
        content: the original bytes.
        format: `gif`, `png`, `jpeg` or `webp`.
        width_px: as a browser shows it, with the orientation of its EXIF data applied; `height_px` likewise.
        sha256: lower-case hex digest of `content`.
        thumbnail: a `data:` URI that shows it in a page, at most about 4 KB of image.
    """

    content: bytes
    format: str
    width_px: int
    height_px: int
    sha256: str
    thumbnail: str


@dataclass(frozen=True, slots=True)
class Validators:
    """What HTTP gave to ask "changed since?" with (RFC 9110, section 8.8); each may be empty.

    Attributes:
        received_at: when a 200 answer last brought them (aware UTC); None beside a strong ETag, which is always
            trusted, and in records that predate the field.
    """

    etag: bounds.Validator = ""
    last_modified: bounds.Validator = ""
    received_at: bounds.Moment | None = None

    @property
    def are_strong(self) -> bool:
        """Whether an equal validator means equal bytes: a strong ETag does, a date and a weak ETag do not."""
        return bool(self.etag) and not self.etag.startswith("W/")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Where a country's flag lies and what is known about it.

    Attributes:
        file: path below the store's root, `flags/CN-China.gif`.
        fetched_at: when the stored bytes came (aware UTC).
        changed_at: when the bytes last differed from those before (aware UTC).
        first_seen_at: when the country's first flag came (aware UTC); None in records that predate the field.
        n_changes: how often the bytes have changed since then.
        thumbnail: a small picture as a `data:` URI, where the flag itself is too large to be shown as one.
    """

    file: bounds.FlagFile
    format: bounds.ImageFormat
    width_px: bounds.Pixels
    height_px: bounds.Pixels
    size_bytes: bounds.SizeBytes
    sha256: bounds.Sha256
    source_url: bounds.Line
    fetched_at: bounds.Moment
    changed_at: bounds.Moment
    validators: Validators
    first_seen_at: bounds.Moment | None = None
    n_changes: bounds.Count = 0
    thumbnail: bounds.Thumbnail = ""


@dataclass(frozen=True, slots=True)
class FlagChange:
    """One time that a country's flag was replaced by another.

    Attributes:
        old_file: where the replaced image is kept, `history/CN/<sha256>.gif`; empty if its bytes were lost before.
        distance_bits: in how many of 64 bits the perceptual hashes differ, None where one is unknown.
        old_source_url: where the replaced image had come from.
        source_url: where its successor came from.
    """

    code: bounds.Code
    changed_at: bounds.Moment
    old_sha256: bounds.Sha256
    new_sha256: bounds.Sha256
    old_size_bytes: bounds.SizeBytes
    new_size_bytes: bounds.SizeBytes
    distance_bits: bounds.DistanceBits | None
    old_source_url: bounds.Line
    source_url: bounds.Line
    old_file: bounds.HistoryFile


@dataclass(frozen=True, slots=True)
class StoredMetadata:
    """A country's stored metadata document: its content hash and where it came from."""

    sha256: bounds.Sha256
    source_url: bounds.Line
    validators: Validators


@dataclass(frozen=True, slots=True)
class Miss:
    """Why the latest attempt brought nothing."""

    kind: ErrorKind
    reason: bounds.Line


@dataclass(frozen=True, slots=True)
class FlagRecord:
    """All that the store knows about one country; the last thing written when it is saved.

    Attributes:
        image: the last good flag, None before the first.
        metadata: the last good metadata, None before the first.
        country: the last good metadata's content.
        miss: set when the latest attempt failed, cleared by the next that succeeds.
        changes: the latest replacements of the flag, oldest first; how many is the setting `history_keep`.
    """

    code: bounds.Code
    image: StoredImage | None = None
    metadata: StoredMetadata | None = None
    country: Country | None = None
    miss: Miss | None = None
    changes: Annotated[tuple[FlagChange, ...], Field(max_length=1000)] = ()


class RowStatus(StrEnum):
    """How a country stands in the catalog."""

    OK = "ok"
    STALE = "stale"
    NOT_FOUND = "not_found"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Effort:
    """What one country, or a whole run, cost.

    Attributes:
        requests: HTTP requests sent, retries and redirects included.
        retries: requests that had to be sent again.
        body_bytes: decoded body bytes received.
        duration_s: wall-clock time from the first request to the stored file.
    """

    requests: int = 0
    retries: int = 0
    body_bytes: int = 0
    duration_s: float = 0.0

    @property
    def attempts(self) -> int:
        """How often the file that needed most tries may have been asked for."""
        return self.retries + 1


# Outcomes say whether they change the country's catalog row although no content changed: a new miss, the end of
# one, a mended file. Content that changed is seen by its data version; this would go unseen.


@dataclass(frozen=True, slots=True)
class FlagSaved:
    """New content was stored for at least one of the country's files.

    Attributes:
        thumbnail: the flag as a `data:` URI, empty when the flag was not wanted.
        only_row_changed: the files were mended or renamed; the flag and the metadata are as they were.
    """

    code: str
    record: FlagRecord
    thumbnail: str
    effort: Effort
    only_row_changed: bool = False


@dataclass(frozen=True, slots=True)
class FlagUnchanged:
    """The source still has what is stored; nothing was rewritten.

    Attributes:
        thumbnail: the flag as a `data:` URI, empty when the flag was not wanted.
        only_row_changed: an earlier miss is over.
    """

    code: str
    record: FlagRecord
    thumbnail: str
    effort: Effort
    only_row_changed: bool = False


@dataclass(frozen=True, slots=True)
class FlagNotFound:
    """The source does not have this country: an answer, not an error.

    Attributes:
        only_row_changed: the previous attempt ended differently.
    """

    code: str
    reason: str
    url: str
    attempts: int
    effort: Effort
    only_row_changed: bool = True

    @property
    def kind(self) -> ErrorKind:
        """Always `not_found`."""
        return ErrorKind.NOT_FOUND


@dataclass(frozen=True, slots=True)
class FlagFailed:
    """The country could not be fetched or stored; its last good files stand.

    Attributes:
        only_row_changed: the previous attempt ended differently.
    """

    code: str
    kind: ErrorKind
    reason: str
    url: str
    attempts: int
    effort: Effort
    only_row_changed: bool = True


Fetched = FlagSaved | FlagUnchanged
Missed = FlagNotFound | FlagFailed
Outcome = Fetched | Missed
