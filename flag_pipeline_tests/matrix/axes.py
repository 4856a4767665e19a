"""What a launch can differ in, which combinations cannot exist, and the cases that are made of the rest.

The exclusions are data: each has two groups of values that do not go together, and the reason.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import combinations, product

import covertable


class Way(StrEnum):
    """How a run is launched."""

    COMMAND = "command"
    EXECUTE = "dagster job execute"
    GRAPHQL = "GraphQL run"
    BACKFILL = "backfill in one run"
    CHUNKS = "backfill in chunks"
    SCHEDULE = "schedule tick"
    HEALING = "healing"
    REEXECUTION = "re-execution"
    DG = "dg launch"


class Origin(StrEnum):
    """Where source and store are named; with one field, in the environment, beside run configuration for others."""

    ENVIRONMENT = "environment"
    DOTENV = ".env"
    OPTIONS = "options"
    ONE_FIELD = "one field"


class Layout(StrEnum):
    """How the source is laid out."""

    EMBEDDED = "embedded"
    BOOK = "book"
    FLAGCDN = "flagcdn"


class Answers(StrEnum):
    """What is wrong with the source's answers for one or all countries."""

    GOOD = "good"
    FAILING = "failing"
    ABSENT = "absent"
    LATE = "late"
    SURPLUS = "surplus"
    WRONG = "wrong"
    DATES = "date-only"
    LOST = "lost"


class Partitions(StrEnum):
    """Which countries are asked for."""

    ONE = "one"
    RANGE = "range"
    REVERSED = "reversed range"
    SCATTERED = "scattered"


class Stored(StrEnum):
    """What the store has before the launch."""

    FRESH = "fresh store"
    FULL = "full store"
    EMPTIED = "emptied store"
    DAMAGED = "damaged store"
    OTHER = "store of another source"


class Home(StrEnum):
    """The Dagster instance: without history, with the history of the store, or the latter in Dagster's own storages."""

    FRESH = "fresh home"
    OURS = "our home"
    DAGSTER = "Dagster's home"


class End(StrEnum):
    """How the launch ends, beside what the answers do to one country."""

    COMPLETE = "complete"
    SOME_FAIL = "some fail"
    ALL_FAIL = "all fail"
    INTERRUPTED = "interrupted"
    KILLED = "killed"


AXES: dict[str, list[StrEnum]] = {
    "way": [*Way],
    "origin": [*Origin],
    "layout": [*Layout],
    "answers": [*Answers],
    "partitions": [*Partitions],
    "stored": [*Stored],
    "home": [*Home],
    "end": [*End],
}


@dataclass(frozen=True, slots=True)
class Case:
    """One launch: a value of each axis."""

    way: Way
    origin: Origin
    layout: Layout
    answers: Answers
    partitions: Partitions
    stored: Stored
    home: Home
    end: End

    def __str__(self) -> str:
        return " / ".join(str(value) for value in self.values)

    @property
    def values(self) -> tuple[StrEnum, ...]:
        """Its values in the order of the axes."""
        return tuple(asdict(self).values())


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Two groups of values that do not go together."""

    one: frozenset[StrEnum]
    other: frozenset[StrEnum]
    reason: str

    def hits(self, values: frozenset[StrEnum]) -> bool:
        """Whether *values* have one of each group."""
        return not (self.one.isdisjoint(values) or self.other.isdisjoint(values))


def _exclude(one: set[StrEnum], other: set[StrEnum], reason: str) -> Exclusion:
    return Exclusion(frozenset(one), frozenset(other), reason)


EXCLUSIONS = (
    _exclude({Origin.OPTIONS}, {*Way} - {Way.COMMAND}, "only the command line has options for source and store"),
    _exclude(
        {Origin.DOTENV},
        {Way.COMMAND, Way.EXECUTE, Way.DG},
        "`.env` is read by Dagster's code server, which these ways do without",
    ),
    _exclude(
        {Origin.ONE_FIELD},
        {Way.COMMAND, Way.BACKFILL, Way.CHUNKS, Way.SCHEDULE, Way.HEALING, Way.REEXECUTION},
        "these ways take no run configuration from the user",
    ),
    _exclude(
        {Layout.EMBEDDED},
        {*Answers} - {Answers.GOOD},
        "the embedded server is a part of the run, and its answers are good",
    ),
    _exclude({Layout.EMBEDDED}, {*End} - {End.COMPLETE}, "nothing holds or spoils an answer of the embedded server"),
    _exclude(
        {Layout.EMBEDDED},
        {Way.HEALING, Way.REEXECUTION},
        "the embedded server fails no country that could be fetched again",
    ),
    _exclude(
        {Partitions.REVERSED},
        {Way.COMMAND, Way.BACKFILL, Way.CHUNKS, Way.SCHEDULE, Way.HEALING, Way.REEXECUTION},
        "these ways name countries one by one, or all of them in their order",
    ),
    _exclude(
        {Partitions.REVERSED}, {*End} - {End.COMPLETE}, "a refused run asks for nothing that could fail or be stopped"
    ),
    _exclude({Partitions.ONE}, {End.SOME_FAIL}, "of one country all fail or none"),
    _exclude({Partitions.SCATTERED}, {Way.DG}, "`dg launch` takes a partition or a range"),
    _exclude({Way.SCHEDULE}, {*Partitions} - {Partitions.RANGE}, "the schedule asks for every country"),
    _exclude({Home.FRESH}, {Way.HEALING, Way.REEXECUTION}, "these ways go by the history of the home"),
    _exclude(
        {End.ALL_FAIL}, {*Answers} - {Answers.GOOD}, "when every answer is an error, none is also late, absent or wrong"
    ),
    _exclude(
        {Answers.LOST},
        {End.SOME_FAIL, End.INTERRUPTED, End.KILLED},
        "a lost source has no country that could fail otherwise or be held",
    ),
    _exclude(
        {Way.BACKFILL, Way.CHUNKS, Way.SCHEDULE, Way.HEALING, Way.REEXECUTION},
        {End.KILLED},
        "what is killed there is a process of the webserver, as with a GraphQL run",
    ),
)


def is_possible(case: Case) -> bool:
    """Whether the case is not excluded."""
    return _is_allowed(frozenset(case.values))


def _is_allowed(values: frozenset[StrEnum]) -> bool:
    return not any(exclusion.hits(values) for exclusion in EXCLUSIONS)


def possible_pairs() -> set[frozenset[StrEnum]]:
    """Return each two values of two axes that some possible case has together."""
    pairs = [
        frozenset({one, other})
        for first, second in combinations(AXES.values(), 2)
        for one, other in product(first, second)
    ]
    return {pair for pair in pairs if _is_allowed(pair) and _can_be_completed(pair, [*AXES.values()])}


def _can_be_completed(values: frozenset[StrEnum], axes: list[list[StrEnum]]) -> bool:
    """Whether each of *axes* has a value for a case with *values*."""
    if not axes:
        return True
    first, *rest = axes
    choices = [value for value in first if value in values] or first
    return any(_is_allowed(values | {choice}) and _can_be_completed(values | {choice}, rest) for choice in choices)


def _axis_of(value: StrEnum) -> str:
    return next(name for name, values in AXES.items() if type(values[0]) is type(value))


def _constraint(exclusion: Exclusion) -> dict[str, object]:
    """Write the exclusion as covertable takes it: values of one group or the other are not there."""
    sides = [
        {
            "operator": "not",
            "condition": {
                "operator": "in",
                "left": _axis_of(next(iter(group))),
                "values": sorted(str(value) for value in group),
            },
        }
        for group in (exclusion.one, exclusion.other)
    ]
    return {"operator": "or", "conditions": sides}


def all_pairs(*, salt: str = "") -> list[Case]:
    """Return cases in which each two values of two axes come together that can; the same for the same salt."""
    factors = {name: [str(value) for value in values] for name, values in AXES.items()}
    constraints = [_constraint(exclusion) for exclusion in EXCLUSIONS]
    rows = covertable.make(factors, strength=2, constraints=constraints, salt=salt)
    types = {name: type(values[0]) for name, values in AXES.items()}
    return [_case({name: types[name](value) for name, value in row.items()}) for row in rows]


def _case(values: Mapping[str, StrEnum]) -> Case:
    return Case(**values)  # type: ignore[arg-type]


def random_cases(seed: int) -> Iterator[Case]:
    """Yield possible cases without end, the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311 - test cases, not secrets
    while True:
        case = _case({name: dice.choice(values) for name, values in AXES.items()})
        if is_possible(case):
            yield case
