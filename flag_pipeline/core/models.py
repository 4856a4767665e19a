"""Immutable countries, flags, records and outcomes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from flag_pipeline import bounds
from flag_pipeline.core.bounds import FlagFile, HistoryFile, ImageFormat
from flag_pipeline.errors import ErrorKind
from flag_pipeline.fetching.models import FetchStatistics, Validators
from flag_pipeline.images.models import Derived


@dataclass(frozen=True, slots=True)
class Country:
    """A country's checked metadata.

    Attributes:
        code: ISO 3166-1 alpha-2; other ISO fields are empty outside the standard (XK, EU).
        tld: with its dot, `.cn`.
    """

    code: bounds.Code
    name: bounds.Name
    official_name: bounds.Line
    alpha_3: bounds.Alpha3
    numeric: bounds.Numeric
    tld: bounds.Tld


@dataclass(frozen=True, slots=True)
class StoredImage:
    """The record of a stored flag.

    Attributes:
        file: `flags/CN-China.gif`, relative to the store's root.
        fetched_at: when the bytes were received.
        first_seen_at: of the first flag; None in old records.
        n_changes: since `first_seen_at`.
        derived: None in records of old versions.
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
    derived: Derived | None = None


@dataclass(frozen=True, slots=True)
class FlagChange:
    """One replacement of a country's flag.

    Attributes:
        distance_bits: between the 64-bit perceptual hashes; None if one is unknown.
        old_file: `history/CN/<sha256>.gif`; empty if the bytes are lost.
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
    """The record of a metadata document."""

    sha256: bounds.Sha256
    source_url: bounds.Line
    validators: Validators


@dataclass(frozen=True, slots=True)
class LastFailure:
    """Why the latest attempt to fetch a country failed."""

    kind: ErrorKind
    reason: bounds.Line


@dataclass(frozen=True, slots=True)
class FlagRecord:
    """A country's record in the store.

    Attributes:
        country: the content of *metadata*.
        last_failure: None if the latest attempt succeeded; `miss` in the JSON file.
        changes: the latest, oldest first.
    """

    code: bounds.Code
    image: StoredImage | None = None
    metadata: StoredMetadata | None = None
    country: Country | None = None
    last_failure: Annotated[LastFailure | None, Field(alias="miss")] = None
    changes: Annotated[tuple[FlagChange, ...], Field(max_length=1000)] = ()


class RowStatus(StrEnum):
    """The status of a country in the catalog."""

    OK = "ok"
    STALE = "stale"
    NOT_FOUND = "not_found"
    MISSING = "missing"


# `only_row_changed` rebuilds the catalog although no data version changed: a failure is new or over, or a file was
# restored. `thumbnail` is a `data:` URI, empty if the flag was not requested.


@dataclass(frozen=True, slots=True)
class _Fetched:
    code: str
    record: FlagRecord
    thumbnail: str
    statistics: FetchStatistics
    only_row_changed: bool = False


class FlagSaved(_Fetched):
    """At least one of the country's files was written."""

    __slots__ = ()


class FlagUnchanged(_Fetched):
    """The source's files equal the stored ones."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class FlagNotFound:
    """The source does not have this country."""

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
    """The country could not be fetched or stored; good files are kept."""

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
