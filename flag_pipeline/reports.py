"""What came of the command line's runs, for those who print it."""

from dataclasses import dataclass, field

from flag_pipeline.defs.ledger import RecordedCountry, RecordedOutcome


@dataclass(slots=True)
class RunReport:
    """What one fetching run did, or several, gathered from its events as they were stored.

    Attributes:
        failed: kind and reason by code.
        body_bytes: decoded body bytes received.
        error: why the run failed where no country is to blame, else empty.
        warnings: what the run's log warned of.
    """

    run_id: str = ""
    requested: int = 0
    saved: int = 0
    unchanged: int = 0
    not_found: list[str] = field(default_factory=list)
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    body_bytes: int = 0
    requests: int = 0
    retries: int = 0
    elapsed_s: float = 0.0
    is_canceled: bool = False
    error: str = ""
    warnings: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    @property
    def n_not_asked(self) -> int:
        """How many countries the run ended without recording."""
        return self.requested - len(self.seen)

    def include(self, other: "RunReport") -> None:
        """Add what another run did."""
        self.run_id = other.run_id
        for name in ("requested", "saved", "unchanged", "body_bytes", "requests", "retries", "elapsed_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.not_found += other.not_found
        self.failed |= other.failed
        self.is_canceled |= other.is_canceled
        self.error = self.error or other.error
        self.warnings += other.warnings
        self.seen |= other.seen

    @property
    def all_fetched(self) -> bool:
        """Whether the run did what it was asked to; a country that the source does not have counts as done."""
        return not (self.failed or self.error or self.is_canceled)

    def add(self, country: RecordedCountry) -> None:
        """Count one country, which must not be among those `seen`: it has an event for each of the run's assets."""
        self.seen.add(country.code)
        self.requests += country.requests
        self.retries += max(0, country.attempts - 1)
        self.body_bytes += country.body_bytes
        match country.outcome:
            case RecordedOutcome.SAVED:
                self.saved += 1
            case RecordedOutcome.UNCHANGED:
                self.unchanged += 1
            case RecordedOutcome.NOT_FOUND:
                self.not_found.append(country.code)
            case RecordedOutcome.FAILED:
                self.failed[country.code] = {"kind": country.kind, "reason": country.reason}


@dataclass(frozen=True, slots=True)
class CatalogReport:
    """What came of rebuilding the catalog.

    Attributes:
        n_rows: of the new catalog; 0 when it was not rebuilt.
        is_canceled: whether somebody interrupted it.
        error: why it was not rebuilt, else empty.
    """

    n_rows: int = 0
    is_canceled: bool = False
    error: str = ""
