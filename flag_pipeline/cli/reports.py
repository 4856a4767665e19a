"""What came of the command line's runs, for those who print it."""

from dataclasses import dataclass, field

from flag_pipeline.isolation import Outcome, RecordedOutcome


@dataclass(slots=True)
class RunReport:
    """What one fetching run did, or several, gathered from its events as they were stored.

    Attributes:
        body_bytes: decoded body bytes received.
        error: why the run failed where no country is to blame, else empty.
        warnings: what the run's log warned of.
        recorded: the latest outcome of each country, by the events of the asset that was recorded first.
    """

    run_id: str = ""
    requested: int = 0
    body_bytes: int = 0
    requests: int = 0
    retries: int = 0
    elapsed_s: float = 0.0
    is_canceled: bool = False
    error: str = ""
    warnings: list[str] = field(default_factory=list)
    recorded: dict[str, RecordedOutcome] = field(default_factory=dict)

    @property
    def saved(self) -> int:
        """How many countries have new content."""
        return len(self._with(Outcome.SUCCEEDED))

    @property
    def unchanged(self) -> int:
        """How many countries are as they were stored."""
        return len(self._with(Outcome.UNCHANGED))

    @property
    def not_found(self) -> list[str]:
        """The countries that the source does not have."""
        return [country.partition_key for country in self._with(Outcome.ABSENT)]

    @property
    def failed(self) -> dict[str, dict[str, str]]:
        """Kind and reason by code."""
        failed = self._with(Outcome.FAILED)
        return {country.partition_key: {"kind": country.kind, "reason": country.reason} for country in failed}

    @property
    def n_not_asked(self) -> int:
        """How many countries the run ended without recording."""
        return self.requested - len(self.recorded)

    @property
    def all_fetched(self) -> bool:
        """Whether the run did what it was asked to; a country that the source does not have counts as done."""
        return not (self.failed or self.error or self.is_canceled)

    def add(self, country: RecordedOutcome) -> bool:
        """Take a country's event, and return whether it is the first of that country.

        A country has an event for each of the run's assets, and another one for each if it was fetched again. The
        latest outcome counts; the costs of all fetches add up.
        """
        code, costs = country.partition_key, country.metadata
        is_first = code not in self.recorded
        if country.asset_key == self.recorded.get(code, country).asset_key:
            self.recorded[code] = country
            self.requests += costs.get("requests", 0)
            self.retries += max(0, costs.get("attempts", 0) - 1)
            self.body_bytes += costs.get("body_bytes", 0)
        return is_first

    def include(self, other: "RunReport") -> None:
        """Add what another run did."""
        self.run_id = other.run_id
        for name in ("requested", "body_bytes", "requests", "retries", "elapsed_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.is_canceled |= other.is_canceled
        self.error = self.error or other.error
        self.warnings += other.warnings
        self.recorded |= other.recorded

    def _with(self, outcome: Outcome) -> list[RecordedOutcome]:
        return [country for country in self.recorded.values() if country.outcome is outcome]


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
