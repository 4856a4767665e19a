"""The values of HTTP that others keep: validators, and what a fetch cost."""

from dataclasses import dataclass

from flag_pipeline import bounds


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
class FetchStatistics:
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
