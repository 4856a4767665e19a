"""One case of the matrix from its preparation to its findings."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flag_pipeline.core.countries import iso_codes, iso_country
from flag_pipeline.definitions import build_definitions
from flag_pipeline.settings import load_settings, project_root
from flag_pipeline_tests.matrix import deployments, launching
from flag_pipeline_tests.matrix.axes import Answers, Case, End, Home, Layout, Origin, Partitions, Stored, Way
from flag_pipeline_tests.matrix.checking import ABSENT, FAILED, FETCHED, Checker, Expected, Seen, State, Truth
from flag_pipeline_tests.matrix.environment import environment
from flag_pipeline_tests.matrix.launching import Launched, Request, command
from flag_pipeline_tests.matrix.observing import (
    end_dead_runs,
    names_below,
    open_home,
    read_catalog,
    read_history,
    read_store,
)
from flag_pipeline_tests.matrix.source import NEW, Source, date_before, running
from flag_pipeline_tests.samples import gif

ALL = list(iso_codes())
NAMES = {code: iso_country(code).name for code in ALL}
RANGE = "AD AE AF AG AI AL AM".split()
SCATTERED = "AD AF AG BR CN".split()
FILLED = [*RANGE, "BR", "CN", "FR"]
BAD, BROKEN, CHANGED, SINGLE = "AF", "AG", "AI", "AE"
# Another country than any of these has the flag that a country gets.
OTHER_FLAG, THIRD_FLAG, OLDER_FLAG = "ZW", "ZM", "ZA"
IN_PROCESS = {Way.COMMAND, Way.EXECUTE, Way.DG}
REPEATING = {Way.HEALING, Way.REEXECUTION}

DAGSTERS_OWN = """telemetry: {enabled: false}
nux: {enabled: false}
concurrency: {pools: {default_limit: 1, granularity: op}}
"""
AT_ONCE = "run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}\n"


@dataclass(slots=True)
class Trial:
    """A case in a folder of its own.

    Attributes:
        source: where the launch fetches from.
        other: another source, which fills the store where the case says so.
        parent: the run that a re-execution repeats.
        carried_over: countries that the parent had fetched.
    """

    case: Case
    folder: Path
    source: Source
    other: Source
    parent: str = ""
    carried_over: list[str] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """The store that the launch names."""
        return self.folder / "store"

    @property
    def home(self) -> Path:
        """The home that the launch is recorded in."""
        return self.folder / "home"

    @property
    def codes(self) -> list[str]:
        """What the launch asks for."""
        if self.case.way is Way.SCHEDULE:
            return ALL
        return {Partitions.ONE: [SINGLE], Partitions.SCATTERED: SCATTERED}.get(self.case.partitions, RANGE)

    @property
    def bad(self) -> str:
        """The country whose answers are wrong."""
        return BAD if BAD in self.codes else self.codes[0]

    @property
    def source_setting(self) -> str:
        """What FLAG_SOURCE or `--source` is."""
        return "embedded" if self.case.layout is Layout.EMBEDDED else self.source.setting

    @property
    def is_refused(self) -> bool:
        """Whether the launch is refused before it asks for anything."""
        is_explicit = self.case.way in {Way.COMMAND, *REPEATING}
        return self.case.partitions is Partitions.REVERSED or (self.case.stored is Stored.OTHER and not is_explicit)

    @property
    def end(self) -> End:
        """How the launch ends: one that is refused is over before it could be stopped."""
        return End.COMPLETE if self.is_refused else self.case.end

    def flag(self, code: str) -> bytes:
        """The flag that the launch's source has for the country."""
        return gif(code) if self.case.layout is Layout.EMBEDDED else self.source.flag(code)

    def settings(self, *, source: str = "", home: Path | None = None) -> dict[str, str]:
        """The environment of a process of the case."""
        is_held = self.end in {End.INTERRUPTED, End.KILLED}
        return {
            "DAGSTER_HOME": str(home or self.home),
            "DAGSTER_EVENT_BATCH_SIZE": "1000",
            "FLAG_SOURCE": source or self.source_setting,
            "FLAG_STORE": str(self.store),
            "FLAG_ATTEMPTS": "2",
            "FLAG_RETRY_INITIAL_S": "0.01",
            "FLAG_RETRY_MAX_S": "0.02",
            "FLAG_READ_TIMEOUT_S": "60" if is_held else "2",
            "FLAG_TIMEOUT_S": "60" if is_held else "5",
            "FLAG_HEAL_DELAY_S": "0.000001",
            # One connection for all, so that an answer too many shifts all that follow.
            **({"FLAG_MAX_REQUESTS": "1", "FLAG_FIRST_REQUESTS": "1"} if self.case.answers is Answers.SURPLUS else {}),
            **({"FLAG_REVALIDATE_DAYS": "0"} if self.case.answers is Answers.DATES else {}),
            **({"FLAG_MAX_PARTITIONS_PER_RUN": "3"} if self.case.way is Way.CHUNKS else {}),
        }

    def request(self) -> Request:
        """The launch."""
        given = self.settings()
        options: list[str] = []
        if self.case.origin is Origin.OPTIONS:
            options = ["--source", given.pop("FLAG_SOURCE"), "--store", given.pop("FLAG_STORE")]
        case = self.case
        return Request(case.way, case.origin, case.partitions, self.codes, given, options, self.folder, self.end)


@contextmanager
def prepared(case: Case, folder: Path) -> Iterator[Trial]:
    """Start the sources, fill store and home as the case says, then make the source as bad as it says."""
    layout = Layout.BOOK if case.layout is Layout.EMBEDDED else case.layout
    with ExitStack() as stack:
        source = stack.enter_context(running(Source(layout, NAMES)))
        other = stack.enter_context(running(Source(Layout.BOOK, NAMES)))
        # Every country has the flag of the next one there.
        other.replaced = dict(zip(ALL, [*ALL[1:], ALL[0]], strict=True))
        trial = Trial(case, folder, source, other)
        _make_home(case, trial.home)
        _fill(trial)
        _fail_before(trial)
        _damage(trial)
        _spoil(trial)
        yield trial


def _make_home(case: Case, home: Path) -> None:
    home.mkdir(parents=True)
    ours = (project_root() / "dagster_home" / "dagster.yaml").read_text()
    ours = re.sub(r"^run_coordinator:\n(?:  .*\n)+", "", ours, flags=re.MULTILINE)
    (home / "dagster.yaml").write_text((DAGSTERS_OWN if case.home is Home.DAGSTER else ours) + AT_ONCE)


def _fill(trial: Trial) -> None:
    """Fetch a few countries in earlier runs; they are in another home's history where the case has a fresh one."""
    if trial.case.stored is Stored.FRESH:
        return
    home = trial.home
    if trial.case.home is Home.FRESH:
        home = trial.folder / "earlier home"
        _make_home(trial.case, home)
    trial.source.answers = Answers.DATES if trial.case.answers is Answers.DATES else Answers.GOOD
    source = trial.other.setting if trial.case.stored is Stored.OTHER else ""
    exit_code, report = command(trial.settings(source=source, home=home), "run", *FILLED)
    if exit_code or report["saved"] != len(FILLED):
        raise AssertionError(f"the store was not filled: {report}")


def _fail_before(trial: Trial) -> None:
    """Have a run fail whose countries are healed, or which is executed again."""
    if trial.case.way not in REPEATING:
        return
    codes = trial.codes
    trial.carried_over = codes[:1] if trial.case.way is Way.REEXECUTION and len(codes) > 1 else []
    trial.source.failing = frozenset(codes) - {*trial.carried_over}
    _, report = command(trial.settings(), "run", *codes)
    if trial.case.layout is not Layout.EMBEDDED and len(report["failed"]) != len(trial.source.failing):
        raise AssertionError(f"the earlier run did not fail as it should: {report}")
    trial.parent = report["run_id"]
    trial.source.is_good()


def _damage(trial: Trial) -> None:
    if trial.case.stored is Stored.EMPTIED:
        shutil.rmtree(trial.store)
        # What the store has lost is fetched again.
        trial.carried_over = []
    if trial.case.stored is Stored.DAMAGED:
        for code in damaged(trial):
            (trial.store / "records" / f"{code}.json").write_bytes(b'{"schema": 1')
        for path in (trial.store / "flags").glob("FR-*"):
            path.write_bytes(path.read_bytes()[:40])


def damaged(trial: Trial) -> set[str]:
    """The countries whose records are damaged: one that is asked for, and one that is not, unless all are."""
    return {trial.codes[-1] if trial.codes[-1] in FILLED else SINGLE, "FR"}


def _spoil(trial: Trial) -> None:
    source, case = trial.source, trial.case
    source.replaced = {CHANGED: OTHER_FLAG, trial.codes[-1]: THIRD_FLAG}
    if case.answers is Answers.DATES:
        source.replaced[trial.bad] = OLDER_FLAG
        source.dates = {trial.bad: date_before(NEW)}
    source.answers, source.bad = case.answers, trial.bad
    if case.end is End.SOME_FAIL:
        source.failing = frozenset({BROKEN})
    if case.end is End.ALL_FAIL:
        source.failing = frozenset(ALL)
    if trial.end in {End.INTERRUPTED, End.KILLED}:
        source.held = trial.codes[-1]
    source.requests.clear()
    trial.other.requests.clear()


def _outcomes(trial: Trial, code: str) -> set[str]:
    """What may come of a requested country."""
    if code in trial.source.failing:
        return {FAILED}
    if trial.case.answers is Answers.LOST:
        return {ABSENT, FAILED}
    if code != trial.bad:
        return {FETCHED}
    # A run that found none of what it asked for has failed. And each of two answers may be the right one: what must not
    # be is that one is stored that is not.
    absent = {ABSENT, FAILED} if len(trial.codes) == 1 else {ABSENT}
    special = {Answers.FAILING: {FAILED}, Answers.WRONG: {FAILED}, Answers.ABSENT: absent}
    return {Answers.SURPLUS: {FETCHED, FAILED}, **special}.get(trial.case.answers, {FETCHED})


def expected(trial: Trial) -> Expected:
    """What is right after the launch."""
    asked_for = [code for code in trial.codes if code not in trial.carried_over]
    truths = {code: Truth(frozenset(_outcomes(trial, code)), trial.flag(code), NAMES[code]) for code in asked_for}
    return Expected(
        truths={} if trial.is_refused else truths,
        end=trial.end,
        must_fail=trial.is_refused or trial.case.answers is Answers.LOST,
        asks_nothing=trial.is_refused,
        source_prefix="embedded:" if trial.case.layout is Layout.EMBEDDED else trial.source.url,
        partitions=frozenset(ALL),
        damaged=frozenset(damaged(trial)) if trial.case.stored is Stored.DAMAGED else frozenset(),
    )


def _state(trial: Trial) -> State:
    return State(read_store(trial.store), read_history(trial.home))


def _launch(trial: Trial) -> Launched:
    if trial.case.way in IN_PROCESS:
        return launching.launch(trial.request(), trial.source)
    return deployments.launch(trial.request(), trial.source, trial.parent)


def rebuild_catalog(trial: Trial) -> None:
    """Build the catalog as the automation would do after a run of the daemon."""
    with open_home(trial.home) as instance, environment(trial.settings()):
        job = build_definitions(load_settings()).resolve_job_def("rebuild_catalog")
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        job.execute_in_process(instance=instance, run_config=quiet)


def findings_of(case: Case, folder: Path) -> list[str]:
    """Try the case and return what is wrong, nothing if all is right."""
    with prepared(case, folder) as trial:
        before, elsewhere = _state(trial), names_below(project_root() / "data")
        launched = _launch(trial)
        asked = frozenset(trial.source.requests)
        has_catalog = case.way is Way.COMMAND and trial.end not in {End.INTERRUPTED, End.KILLED}
        if not has_catalog:
            rebuild_catalog(trial)
        strangers = _strangers(trial, elsewhere)
        _, status = command(trial.settings(), "status")
        state = _state(trial)
        seen = Seen(
            state,
            launched.exit_code,
            launched.report,
            read_catalog(trial.store),
            status["flag_image"],
            asked,
            strangers,
        )
        right = expected(trial)
        findings = Checker(right, before, seen).check()
        if launched.output and findings:
            findings.append(f"it printed {launched.output[-2000:]}")
        if _leaves_something(case) and not trial.is_refused:
            findings += _recovered(trial, right)
        return findings


def _strangers(trial: Trial, elsewhere: Mapping[str, int]) -> tuple[str, ...]:
    """What was done to the source and the store that the launch did not name."""
    found = []
    if trial.other.requests:
        found.append(f"another source was asked for {sorted(trial.other.requests)}")
    if names_below(project_root() / "data") != elsewhere:
        found.append("the default store was changed")
    return tuple(found)


def _leaves_something(case: Case) -> bool:
    return case.end is not End.COMPLETE or case.answers in {Answers.FAILING, Answers.WRONG, Answers.LOST}


def _recovered(trial: Trial, right: Expected) -> Iterator[str]:
    """Once the source is well, `flag-pipeline retry` fetches all that is not right yet."""
    trial.source.is_good()
    if trial.end is End.KILLED and trial.case.way is not Way.COMMAND:
        end_dead_runs(trial.home)
    # Without the option `--source`: each country comes from where it was asked for last.
    given = trial.request().environment
    exit_code, report = command(given, "retry", *([] if "FLAG_STORE" in given else ["--store", str(trial.store)]))
    if exit_code:
        yield f"retry ended with {exit_code}: {report}"
    store, catalog = read_store(trial.store), read_catalog(trial.store)
    for code, truth in right.truths.items():
        stored = store.get(code)
        is_right = stored is not None and stored.content == truth.flag and not stored.miss
        if stored is None or not (is_right and stored.source_url.startswith(right.source_prefix)):
            yield f"{code} is not right after retry"
        if catalog.get(code, {}).get("status") != "ok":
            yield f"{code} is not ok in the catalog after retry"
