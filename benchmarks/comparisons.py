"""The measurements and their targets. Alternatives take turns, so that a busy machine slows all equally."""

import json
import os
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import FLAG_PIPELINE, Measured, Place, RunFacts, Spread, facts_of, measure, new_place, server
from benchmarks.provider import synthetic_codes
from flag_pipeline.core.countries import iso_codes, iso_country
from flag_pipeline.core.layout import CATALOG_PATH, flag_prefix, record_path
from flag_pipeline.core.mirror import packaged_flags
from flag_pipeline.settings import Settings

HERE = Path(__file__).parent
MAX_REQUESTS = Settings.model_fields["max_requests"].default
RUN = [*FLAG_PIPELINE, "run", "--json"]
# What every command that uses Dagster pays on this instance.
BARE = [sys.executable, "-c", "import dagster; dagster.DagsterInstance.get().dispose()"]
IDIOM = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "benchmarks.idioms", "--select", "*"]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured.

    Attributes:
        n_single_runs: countries of the one-run-per-country idiom.
        sizes: numbers of partitions.
        real_sizes: numbers of countries with flags of real size.
        peers: a Python that has Scrapy and img2dataset; None leaves them out.
    """

    repeats: int
    n_codes: int
    n_events: int
    n_single_runs: int
    sizes: tuple[int, ...]
    body_bytes: tuple[int, ...]
    delays_s: tuple[float, ...]
    real_sizes: tuple[int, ...]
    peers: str | None = None

    @property
    def codes(self) -> list[str]:
        """The countries of most measurements."""
        return list(iso_codes()[: self.n_codes])


FULL = Extent(5, 249, 500, 20, (249, 1_000, 5_000, 10_000), (0, 1_000_000), (0.0, 0.05), (194, 1_000, 5_000, 10_000))
QUICK = Extent(1, 20, 50, 1, (300,), (100_000,), (0.0,), (30,))


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table: what was measured, or a ratio of two lines with the target it has.

    Attributes:
        spread: None for a ratio.
        value: the median, or the ratio of medians.
    """

    name: str
    unit: str
    value: float
    spread: Spread | None = None
    target: str = ""
    is_met: bool = True


class Samples:
    """Repeated measurements by name, in the order of the first of each."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, name: str, unit: str, value: float) -> None:
        """Note one measurement."""
        self._values[name, unit].append(value)

    def median(self, name: str) -> float:
        """The median of what was measured under *name*."""
        return next(Spread.of(values).median for (known, _), values in self._values.items() if known == name)

    def results(self) -> list[Result]:
        """A line for each name."""
        spreads = ((name, unit, Spread.of(values)) for (name, unit), values in self._values.items())
        return [Result(name, unit, spread.median, spread) for name, unit, spread in spreads]

    def at_most(self, name: str, value: float, limit: float | None, unit: str = "times") -> Result:
        """A line whose target is *limit* or less; None means no target."""
        if limit is None:
            return Result(name, unit, value)
        return Result(name, unit, value, target=f"<= {limit:g}", is_met=value <= limit)

    def at_least(self, name: str, value: float, limit: float) -> Result:
        """A line whose target is *limit* or more."""
        return Result(name, "times", value, target=f">= {limit:g}", is_met=value >= limit)


def run_in(place: Place, extent: Extent, *, exit_code: int = 0, **settings: object) -> tuple[Measured, RunFacts]:
    """Run our command line once, which must end with that exit code."""
    codes = [] if extent.n_codes == len(iso_codes()) else extent.codes
    done = measure([*RUN, *codes], place.environment(**settings), exit_code=exit_code)
    return done, facts_of(place, done.json()["run_id"])


def plain_script(extent: Extent) -> Iterator[Result]:
    """Compare with the plain script, on the same mirror."""
    for delay_s in extent.delays_s:
        samples, at = Samples(), f"at {delay_s * 1000:.0f} ms latency"
        mirror = [*FLAG_PIPELINE, "mirror", "--port", "0", "--delay", str(delay_s)]
        with new_place() as place, server(mirror, place) as url:
            for _ in range(extent.repeats):
                with new_place() as fresh:
                    script = [sys.executable, str(HERE / "plain_script.py")]
                    fetching_only = [url, str(fresh.root / "fetched"), str(MAX_REQUESTS), *extent.codes]
                    same_work = ["--catalog", url, str(fresh.root / "plain"), str(MAX_REQUESTS), *extent.codes]
                    fetched = measure([*script, *fetching_only], fresh.environment())
                    plain = measure([*script, *same_work], fresh.environment())
                    ours, facts = run_in(fresh, extent, source=url)
                    bare = measure(BARE, fresh.environment())
                samples.add(f"plain script, fetching, {at}", "s", plain.json()["fetching_s"])
                samples.add(f"our fetching step, {at}", "s", facts.fetching_s)
                samples.add(f"plain script with the same catalog, whole, {at}", "s", plain.seconds)
                samples.add(f"plain script without a catalog, whole, {at}", "s", fetched.seconds)
                samples.add(f"our whole command, {at}", "s", ours.seconds)
                samples.add(f"Dagster imported and its instance opened, {at}", "s", bare.seconds)
        yield from samples.results()
        fetching = samples.median(f"our fetching step, {at}") / samples.median(f"plain script, fetching, {at}")
        yield samples.at_most(f"our fetching to the script's, {at}", fetching, 1.3 if delay_s else None)
        for other, limit in (
            ("plain script with the same catalog", 2.5),
            ("plain script without a catalog", None),
        ):
            more_s = samples.median(f"our whole command, {at}") - samples.median(f"{other}, whole, {at}")
            yield samples.at_most(f"our whole command beyond the {other}, {at}", more_s, limit, "s")


def idioms(extent: Extent) -> Iterator[Result]:
    """Compare with Dagster's two idioms on its own event log; one run per country is measured on a few countries."""
    samples, n_all = Samples(), extent.n_codes
    with new_place() as place, server([*FLAG_PIPELINE, "mirror", "--port", "0"], place) as url:
        for _ in range(extent.repeats):
            with new_place() as fresh:
                samples.add("our whole command", "s", run_in(fresh, extent, source=url)[0].seconds)
            with new_place(stock=True) as fresh:
                ranged = ["--partition-range", f"{extent.codes[0]}...{extent.codes[-1]}"]
                done = measure([*IDIOM, *ranged], fresh.environment(source=url))
                samples.add("single-run idiom, stock storages, whole command", "s", done.seconds)
        with new_place(stock=True) as fresh:
            for code in extent.codes[: extent.n_single_runs]:
                done = measure([*IDIOM, "--partition", code], fresh.environment(source=url))
                samples.add("one run per country, stock storages, each", "s", done.seconds)
    yield from samples.results()
    ours_s = samples.median("our whole command")
    single_s = samples.median("one run per country, stock storages, each") * n_all
    yield samples.at_least(f"one run per country, times {n_all}, to ours", single_s / ours_s, 150)
    ranged_s = samples.median("single-run idiom, stock storages, whole command")
    yield samples.at_least("single-run idiom to ours", ranged_s / ours_s, 4)


def event_logs(extent: Extent) -> Iterator[Result]:
    """Compare the event logs, one event at a time."""
    samples = Samples()
    for _ in range(extent.repeats):
        for name in ("stock", "ours"):
            with new_place() as fresh:
                command = [sys.executable, "-m", "benchmarks.events", name, str(fresh.root / "log")]
                done = measure([*command, str(extent.n_events)], fresh.environment())
            samples.add(f"an event, {name}", "ms", done.json()["event_ms"])
    yield from samples.results()
    yield samples.at_most("an event, ours", samples.median("an event, ours"), 0.7, "ms")
    ratio = samples.median("an event, stock") / samples.median("an event, ours")
    yield samples.at_least("an event, stock to ours", ratio, 10)


def partitions(extent: Extent) -> Iterator[Result]:
    """Measure sweeps of growing size, by the fetching step, because start-up belongs to no partition."""
    samples = Samples()
    most = max(extent.sizes)
    with new_place() as place, server(_provider(most, 0), place) as url:
        for _ in range(extent.repeats):
            for size in extent.sizes:
                extra = ",".join(code for code in synthetic_codes(size) if code not in iso_codes())
                with new_place() as fresh:
                    done, facts = run_in(fresh, FULL, source=url, extra_codes=extra)
                samples.add(f"{size} partitions, whole command", "s", done.seconds)
                samples.add(f"{size} partitions, fetching, each", "ms", facts.fetching_s / size * 1000)
                samples.add(f"{size} partitions, processor time, each", "ms", done.cpu_s / size * 1000)
                samples.add(f"{size} partitions, peak memory", "MB", done.peak_mb)
    yield from samples.results()
    first, last = (samples.median(f"{size} partitions, fetching, each") for size in (extent.sizes[0], most))
    yield samples.at_most(f"a partition of {most} to one of {extent.sizes[0]}", last / first, 1.2)
    yield samples.at_most(f"peak memory at {most}", samples.median(f"{most} partitions, peak memory"), 300, "MB")


def conditional(extent: Extent) -> Iterator[Result]:
    """Compare a refresh in which nothing has changed with the full fetch before it."""
    for size_bytes in extent.body_bytes:
        samples, bodies = Samples(), f"bodies of {size_bytes / 1e6:g} MB" if size_bytes else "small bodies"
        with new_place() as place, server(_provider(extent.n_codes, size_bytes), place) as url:
            for _ in range(extent.repeats):
                with new_place() as fresh:
                    for kind in ("full fetch", "conditional refresh"):
                        _, facts = run_in(fresh, extent, source=url)
                        samples.add(f"{kind}, {bodies}", "s", facts.fetching_s)
        yield from samples.results()
        ratio = samples.median(f"full fetch, {bodies}") / samples.median(f"conditional refresh, {bodies}")
        yield samples.at_least(f"full fetch to conditional refresh, {bodies}", ratio, 2 if size_bytes else 1)


def small_backlog(extent: Extent) -> Iterator[Result]:
    """Compare Python's own `http.server`, whose listen backlog is 5, with the embedded mirror."""
    samples = Samples()
    with new_place() as place:
        folder = _book_layout(place.root / "site", extent.codes)
        command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
        with server(command, place) as line:
            url = re.search(r"http://[\d.:]+", line)
            sources = {"http.server": url.group() if url else "", "embedded": "embedded"}
            for _ in range(extent.repeats):
                for name, source in sources.items():
                    with new_place() as fresh:
                        _, facts = run_in(fresh, extent, source=source)
                    samples.add(f"our fetching step, {name}", "s", facts.fetching_s)
                    samples.add(f"slowest country, {name}", "s", facts.longest_country_s)
    yield from samples.results()
    ratio = samples.median("our fetching step, http.server") / samples.median("our fetching step, embedded")
    yield samples.at_most("http.server to embedded", ratio, 2)


def hostile_answer(extent: Extent) -> Iterator[Result]:
    """Compare a run with one slow JPEG over a damaged store with one without both; all files are fetched in full."""
    samples, (hostile, *others) = Samples(), extent.codes
    sound, bad = "sound answers and store", "a hostile answer and a damaged store"
    with new_place() as place, server(_provider(extent.n_codes, 0), place) as filling_url:
        run_in(place, extent, source=filling_url)
        # At other addresses than the one that filled the store, so that nothing is answered with 304.
        with (
            server(_provider(extent.n_codes, 0), place) as sound_url,
            server(_provider(extent.n_codes, 0, hostile), place) as bad_url,
        ):
            for _ in range(extent.repeats):
                for name, url in ((sound, sound_url), (bad, bad_url)):
                    with new_place() as fresh:
                        shutil.copytree(place.root / "store", fresh.root / "store")
                        if name == bad:
                            _damage(fresh.root / "store", others)
                        ours, facts = run_in(fresh, extent, exit_code=int(name == bad), source=url)
                    if name == bad and ours.json()["failed"].keys() != {hostile}:
                        raise ValueError(f"not only {hostile} failed")
                    samples.add(f"our whole command, {name}", "s", ours.seconds)
                    samples.add(f"our fetching step, {name}", "s", facts.fetching_s)
    yield from samples.results()
    for what, limit in (("our whole command", 1.5), ("our fetching step", None)):
        ratio = samples.median(f"{what}, {bad}") / samples.median(f"{what}, {sound}")
        yield samples.at_most(f"{what}, {bad}, to {sound}", ratio, limit)


def _damage(store: Path, codes: list[str]) -> None:
    """Damage the catalog, and a file of each of the first countries, each in another way."""
    (store / CATALOG_PATH).write_bytes(b"[" * 100_000)
    paths = [store / record_path(code) for code in codes]
    paths[0].write_bytes(b"no JSON")
    paths[1].unlink()
    paths[1].mkdir()
    [flag] = store.glob(f"{flag_prefix(codes[2])}*")
    for path in (flag, paths[3]):
        os.truncate(path, 3 * 2**30)
    damages = {"height_px": 0, "file": "flags/../../outside.gif", "format": "bmp"}
    for path, (field, value) in zip(paths[4:], damages.items(), strict=False):
        document = json.loads(path.read_bytes())
        document["image"][field] = value
        path.write_text(json.dumps(document), encoding="utf-8")


def _provider(n_countries: int, size_bytes: int, hostile: str = "") -> list[str]:
    options = ["--countries", str(n_countries), "--size-bytes", str(size_bytes), "--hostile", hostile]
    return [sys.executable, "-m", "benchmarks.provider", *options]


def _book_layout(folder: Path, codes: list[str]) -> Path:
    flags = packaged_flags()
    for code in codes:
        cc = code.lower()
        (folder / cc).mkdir(parents=True)
        shutil.copy(flags[cc], folder / cc / f"{cc}.gif")
        document = {"country": iso_country(code).name, "iso_cc": code}
        (folder / cc / "metadata.json").write_text(json.dumps(document), encoding="utf-8")
    return folder
