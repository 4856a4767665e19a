"""HTTP validators and fetch statistics."""

from dataclasses import dataclass

from flag_pipeline import bounds


@dataclass(frozen=True, slots=True)
class Validators:
    """Validators for a conditional request (RFC 9110, section 8.8).

    Attributes:
        received_at: of the 200 answer (aware UTC); None with a strong ETag and in old records.
    """

    etag: bounds.Validator = ""
    last_modified: bounds.Validator = ""
    received_at: bounds.Moment | None = None

    @property
    def are_strong(self) -> bool:
        """Whether equal validators mean equal bytes."""
        return bool(self.etag) and not self.etag.startswith("W/")


@dataclass(frozen=True, slots=True)
class FetchStatistics:
    """The costs of one country or one run.

    Attributes:
        requests: with retries and redirects.
        body_bytes: decoded.
        duration_s: from the first request to the stored file.
    """

    requests: int = 0
    retries: int = 0
    body_bytes: int = 0
    duration_s: float = 0.0

    @property
    def attempts(self) -> int:
        """Attempts at one file, at most."""
        return self.retries + 1
