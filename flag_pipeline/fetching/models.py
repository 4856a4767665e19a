"""HTTP validators of a file, and the costs of fetching it."""

from dataclasses import dataclass

from flag_pipeline import bounds


@dataclass(frozen=True, slots=True)
class Validators:
    """What a conditional request sends (RFC 9110, section 8.8); each may be empty.

    Attributes:
        received_at: when a 200 answer last contained them (aware UTC); None beside a strong ETag, which does not
            expire, and in records that are older than the field.
    """

    etag: bounds.Validator = ""
    last_modified: bounds.Validator = ""
    received_at: bounds.Moment | None = None

    @property
    def are_strong(self) -> bool:
        """Whether equal validators mean equal bytes: true for a strong ETag, not for a weak one or a date."""
        return bool(self.etag) and not self.etag.startswith("W/")


@dataclass(frozen=True, slots=True)
class FetchStatistics:
    """What one country, or a whole run, cost.

    Attributes:
        requests: HTTP requests sent, with retries and redirects.
        retries: requests that were sent again.
        body_bytes: decoded body bytes received.
        duration_s: wall-clock time from the first request to the stored file.
    """

    requests: int = 0
    retries: int = 0
    body_bytes: int = 0
    duration_s: float = 0.0

    @property
    def attempts(self) -> int:
        """The largest number of attempts that one file may have needed."""
        return self.retries + 1
