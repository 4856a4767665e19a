"""Results of the command line's runs, to be printed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flag_pipeline.isolation import Outcome, RecordedOutcome


@dataclass(slots=True)
class RunReport:
    """The result of one or more fetching runs.

    Attributes:
        body_bytes: decoded body bytes received.
        error: why the run failed, if not because of a country, else empty.
        recorded: latest outcome by country, of the first recorded asset.
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
        """Number of countries with new content."""
        return len(self._with(Outcome.SUCCEEDED))

    @property
    def unchanged(self) -> int:
        """Number of countries with unchanged files."""
        return len(self._with(Outcome.UNCHANGED))

    @property
    def not_found(self) -> list[str]:
        """Countries that the source does not have."""
        return [country.partition_key for country in self._with(Outcome.ABSENT)]

    @property
    def failed(self) -> dict[str, dict[str, str]]:
        """Kind and reason by code."""
        failed = self._with(Outcome.FAILED)
        return {country.partition_key: {"kind": country.kind, "reason": country.reason} for country in failed}

    @property
    def n_not_asked(self) -> int:
        """Number of countries without an outcome."""
        return self.requested - len(self.recorded)

    @property
    def all_fetched(self) -> bool:
        """Whether nothing failed; countries that the source lacks count as fetched."""
        return not (self.failed or self.error or self.is_canceled)

    def add(self, country: RecordedOutcome) -> bool:
        """Count a country's event; return whether it is the first.

        A country has one event per asset and fetch. The latest outcome counts; costs add up.
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
        """Add the result of another run."""
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
class StoredFlags:
    """The flags in the store.

    Attributes:
        fetched_at: seconds since the epoch by code, of the latest successful fetch.
        sources: number of countries by source.
    """

    fetched_at: Mapping[str, float] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)

    @property
    def oldest(self) -> str:
        """The country fetched longest ago; raises ValueError without any."""
        return min(self.fetched_at, key=lambda code: (self.fetched_at[code], code))

    @property
    def newest(self) -> str:
        """The country fetched last; raises ValueError without any."""
        return max(self.fetched_at, key=lambda code: (self.fetched_at[code], code))


@dataclass(frozen=True, slots=True)
class CatalogReport:
    """The result of rebuilding the catalog.

    Attributes:
        n_rows: 0 if it could not be rebuilt.
        is_current: not rebuilt, because nothing had changed.
        error: why it could not be rebuilt, else empty.
    """

    n_rows: int = 0
    is_current: bool = False
    is_canceled: bool = False
    error: str = ""
