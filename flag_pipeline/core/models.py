"""The values that travel through the pipeline: frozen, slotted, and free of behaviour with side effects."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from flag_pipeline import bounds
from flag_pipeline.core.bounds import FlagFile, HistoryFile, ImageFormat
from flag_pipeline.errors import ErrorKind
from flag_pipeline.fetching.models import FetchStatistics, Validators


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

    file: FlagFile
    format: ImageFormat
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
    old_file: HistoryFile


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
    statistics: FetchStatistics
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
    statistics: FetchStatistics
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
    statistics: FetchStatistics
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
    statistics: FetchStatistics
    only_row_changed: bool = True


Fetched = FlagSaved | FlagUnchanged
Missed = FlagNotFound | FlagFailed
Outcome = Fetched | Missed
