"""HTTP validators of a file, and the costs of fetching it."""

from dataclasses import dataclass

from flag_pipeline import bounds


@dataclass(frozen=True, slots=True)
class Validators:
    """Validators for a conditional request (RFC 9110, section 8.8); each may be empty.

    Attributes:
        received_at: when a 200 answer had them (aware UTC); None beside a strong ETag, and in older records.
    """

    etag: bounds.Validator = ""
    last_modified: bounds.Validator = ""
    received_at: bounds.Moment | None = None

    @property
    def are_strong(self) -> bool:
        """Whether equal validators mean equal bytes: a strong ETag does."""
        return bool(self.etag) and not self.etag.startswith("W/")


@dataclass(frozen=True, slots=True)
class FetchStatistics:
    """The costs of one country or one run.

    Attributes:
        requests: HTTP requests, with retries and redirects.
        retries: repeated requests.
        body_bytes: decoded bytes received.
        duration_s: time from the first request to the stored file.
    """

    requests: int = 0
    retries: int = 0
    body_bytes: int = 0
    duration_s: float = 0.0

    @property
    def attempts(self) -> int:
        """Attempts at one file, at most."""
        return self.retries + 1
