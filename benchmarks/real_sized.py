"""Runs over flags of real size: ours, a plain script's and other programs', first and again."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparisons import BARE, HERE, MAX_REQUESTS, RUN, Extent, Result, Samples
from benchmarks.measuring import Measured, Place, RunFacts, facts_of, measure, new_place, server
from benchmarks.provider import synthetic_codes
from benchmarks.real_flags import write_flag
from flag_pipeline.core.countries import iso_codes

# The sizes whose lines have targets; the others show how the costs grow.
FEW, MANY = 194, 5_000
# Peers take too long with more.
MOST_FOR_PEERS = 5_000


@dataclass(frozen=True, slots=True)
class Site:
    """A web server with the flags of these countries."""

    url: str
    folder: Path
    codes: list[str]

    @property
    def codes_file(self) -> Path:
        """A file with the codes, because they can be too many for a command line."""
        return self.folder.with_name("codes.txt")

    def change(self, n_flags: int, version: int) -> None:
        """Replace the flags of the first countries."""
        for code in self.codes[:n_flags]:
            write_flag(self.folder, code, version)


def real_sizes(extent: Extent) -> Iterator[Result]:
    """Measure each number of countries; alternatives take turns."""
    samples = Samples()
    for size in extent.real_sizes:
        yield from _of_size(extent, size, samples)
    yield from _growth(extent, samples)


def _of_size(extent: Extent, size: int, shared: Samples) -> Iterator[Result]:
    samples, at = Samples(), f"{size} flags"
    with new_place() as place:
        codes = synthetic_codes(size)
        folder = place.root / "site"
        site = Site("", folder, codes)
        measure([sys.executable, "-m", "benchmarks.real_flags", str(folder), str(size)], place.environment())
        site.codes_file.write_text("\n".join(codes), encoding="utf-8")
        with server([sys.executable, "-m", "benchmarks.web_server", str(folder)], place) as url:
            site = Site(url, folder, codes)
            for number in range(extent.repeats):
                with new_place() as fresh:
                    samples.add(f"Dagster imported and its instance opened, {at}", "s", _bare(fresh))
                    _peers(extent, site, fresh, samples, at)
                    _plain(site, fresh, samples, at)
                    _ours(site, fresh, samples, at, version=number + 1)
    yield from samples.results()
    shared.add(f"{size}", "ms", samples.median(f"our whole command, {at}") / size * 1000)
    yield from _targets(samples, at, has_peers=extent.peers is not None and size <= MOST_FOR_PEERS)


def _bare(place: Place) -> float:
    return measure(BARE, place.environment()).seconds


def _peers(extent: Extent, site: Site, place: Place, samples: Samples, at: str) -> None:
    if extent.peers is None or len(site.codes) > MOST_FOR_PEERS:
        return
    for program in ("scrapy", "img2dataset"):
        target = place.root / program
        command = [extent.peers, str(HERE / "peers.py"), program, site.url, str(target), str(site.codes_file)]
        samples.add(f"{program}, {at}", "s", measure(command, place.environment()).seconds)


def _plain(site: Site, place: Place, samples: Samples, at: str) -> None:
    command = [sys.executable, str(HERE / "plain_script.py")]
    arguments = [site.url, str(place.root / "plain"), str(MAX_REQUESTS), f"@{site.codes_file}"]
    done = measure([*command, *arguments], place.environment())
    samples.add(f"plain script, fetching, {at}", "s", done.json()["fetching_s"])
    samples.add(f"plain script, whole, {at}", "s", done.seconds)
    again = measure([*command, "--conditional", *arguments], place.environment())
    samples.add(f"plain script, conditional refresh, {at}", "s", again.seconds)


def _ours(site: Site, place: Place, samples: Samples, at: str, *, version: int) -> None:
    before = _bytes_below(place.home)
    done, facts = _run(site, place)
    samples.add(f"our fetching step, {at}", "s", facts.fetching_s)
    samples.add(f"our whole command, {at}", "s", done.seconds)
    samples.add(f"our processor time, {at}", "s", done.cpu_s)
    samples.add(f"our peak memory, {at}", "MB", done.peak_mb)
    samples.add(f"event log a partition, {at}", "kB", (_bytes_below(place.home) - before) / len(site.codes) / 1000)
    for n_changed in (0, 1, max(2, len(site.codes) // 100)):
        site.change(n_changed, version)
        done, _ = _run(site, place)
        samples.add(f"our refresh with {_changes(n_changed)} changed, {at}", "s", done.seconds)


def _changes(n_changed: int) -> str:
    return str(n_changed) if n_changed <= 1 else "1 %"


def _run(site: Site, place: Place) -> tuple[Measured, RunFacts]:
    known = set(iso_codes())
    extra = ",".join(code for code in site.codes if code not in known)
    wanted = site.codes if len(site.codes) < len(known) else []
    done = measure([*RUN, *wanted], place.environment(source=site.url, extra_codes=extra))
    return done, facts_of(place, done.json()["run_id"])


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _targets(samples: Samples, at: str, *, has_peers: bool) -> Iterator[Result]:
    size = int(at.split(maxsplit=1)[0])
    many, few = size == MANY, size == FEW
    if has_peers:
        ratio = samples.median(f"our whole command, {at}") / samples.median(f"scrapy, {at}")
        yield samples.at_most(f"our whole command to scrapy, {at}", ratio, 1.3 if many else 2.3 if few else None)
    step = samples.median(f"our fetching step, {at}") / samples.median(f"plain script, fetching, {at}")
    yield samples.at_most(f"our fetching step to the script's, {at}", step, 2.5 if many else None)
    unchanged = samples.median(f"our refresh with 0 changed, {at}")
    beyond = unchanged - samples.median(f"Dagster imported and its instance opened, {at}")
    refresh = beyond / samples.median(f"plain script, conditional refresh, {at}")
    yield samples.at_most(f"our refresh beyond Dagster's start to the script's, {at}", refresh, 2 if many else None)
    one = samples.median(f"our refresh with 1 changed, {at}") / unchanged
    yield samples.at_most(f"our refresh with 1 changed to one with 0, {at}", one, 1.3 if many else None)
    yield samples.at_most(f"event log a partition, {at}", samples.median(f"event log a partition, {at}"), 10, "kB")
    yield samples.at_most(f"our peak memory, {at}", samples.median(f"our peak memory, {at}"), 300, "MB")


def _growth(extent: Extent, costs: Samples) -> Iterator[Result]:
    """Compare what a flag costs among the most with what one of a thousand costs."""
    most = max(extent.real_sizes)
    if {1_000, most} <= set(extent.real_sizes) and most > 1_000:  # noqa: PLR2004
        ratio = costs.median(f"{most}") / costs.median("1000")
        yield costs.at_most(f"a flag of {most} to one of 1000", ratio, 1.1)
