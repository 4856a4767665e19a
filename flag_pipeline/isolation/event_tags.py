"""The tags of the isolation's events, and their reader."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from flag_pipeline.isolation.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class EventTags:
    """Names and words on events. Events with other ones cannot be read back.

    Attributes:
        namespace: prefix of every tag.
        words: by outcome, if not those of `Outcome`.
        recorded_at_name: of the tag with a copy's original time.
        not_copied: full names of tags that copies lack.
    """

    namespace: str = "isolation"
    words: Mapping[Outcome, str] = field(default_factory=dict)
    recorded_at_name: str = "recorded_at"
    not_copied: frozenset[str] = frozenset()

    @property
    def outcome(self) -> str:
        """Tag of the outcome."""
        return f"{self.namespace}/outcome"

    @property
    def kind(self) -> str:
        """Tag of the kind of an absence or failure."""
        return f"{self.namespace}/kind"

    @property
    def transient(self) -> str:
        """Tag with `true` or `false`: whether a failure may pass."""
        return f"{self.namespace}/transient"

    @property
    def recorded_at(self) -> str:
        """Tag of a copy's original time, in seconds since the epoch."""
        return f"{self.namespace}/{self.recorded_at_name}"

    def word(self, outcome: Outcome) -> str:
        """Return the outcome's word in a tag."""
        return self.words.get(outcome, outcome.value)

    def outcome_of(self, tags: Mapping[str, str]) -> Outcome | None:
        """Return the recorded outcome, or None."""
        word = tags.get(self.outcome)
        return next((outcome for outcome in Outcome if self.word(outcome) == word), None)

    def is_transient(self, tags: Mapping[str, str]) -> bool:
        """Whether the failure may pass; true without the tag."""
        return tags.get(self.transient) != "false"


DEFAULT_TAGS = EventTags()


@dataclass(frozen=True, slots=True)
class RecordedOutcome:
    """What an event says about one partition of one asset.

    Attributes:
        kind, reason: of an absence or failure, else empty.
    """

    asset_key: dg.AssetKey
    partition_key: str
    outcome: Outcome
    kind: str
    reason: str
    is_transient: bool
    metadata: Mapping[str, Any]
    tags: Mapping[str, str]


def read_outcome(event: dg.DagsterEvent, tags: EventTags = DEFAULT_TAGS) -> RecordedOutcome | None:
    """Return the outcome in *event*; None if the isolation did not write it."""
    asset_event: dg.AssetMaterialization | dg.AssetObservation
    if event.is_step_materialization:
        asset_event = event.step_materialization_data.materialization
    elif event.is_asset_observation:
        asset_event = event.asset_observation_data.asset_observation
    else:
        return None
    its_tags = asset_event.tags or {}
    outcome = tags.outcome_of(its_tags)
    if asset_event.partition is None or outcome is None:
        return None
    metadata = {name: value.value for name, value in asset_event.metadata.items()}
    return RecordedOutcome(
        asset_event.asset_key,
        asset_event.partition,
        outcome,
        its_tags.get(tags.kind, ""),
        str(metadata.get("reason", "")) if outcome in {Outcome.ABSENT, Outcome.FAILED} else "",
        tags.is_transient(its_tags),
        metadata,
        its_tags,
    )
