"""The output of `run`, `retry` and `status` on a terminal: progress bar, report, table."""

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from flag_pipeline.cli.failures import failure_lines, some_codes
from flag_pipeline.cli.rendering_json import errors_of, warnings_of
from flag_pipeline.core.provenance import describe_sources
from flag_pipeline.defs.commands import command_for, fetch_command, unconfigured_store
from flag_pipeline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from typing import TextIO

    from flag_pipeline.cli.reports import CatalogReport, RunReport, StoredFlags
    from flag_pipeline.defs.statuses import CountryStatuses
    from flag_pipeline.isolation import RecordedOutcome

SHOWN_NOT_FOUND = 60
# The largest unit of an age that is at least one is shown.
_UNITS_S = {"days": 86_400, "h": 3_600, "min": 60, "s": 1}


@contextmanager
def progress_bar(title: str, total: int, terminal: "TextIO") -> "Iterator[Callable[[RecordedOutcome], None]]":
    """Show a bar on a terminal, and yield the callback that advances it by one country."""
    console = Console(file=terminal)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        n_failed = 0

        def on_country(country: "RecordedOutcome") -> None:
            nonlocal n_failed
            n_failed += country.outcome == "failed"
            failed = f", {n_failed} failed" if n_failed else ""
            progress.update(task, advance=1, description=f"{title}{failed}")

        yield on_country


def print_report(report: "RunReport", catalog: "CatalogReport", settings: Settings) -> None:
    """Print counts, failures with their reasons, and where the files are."""
    console = Console(highlight=False)
    for warning in warnings_of(report):
        console.print(f"[yellow]{escape(warning)}[/yellow]", soft_wrap=True)
    console.print(*_summary_of(report), sep="\n", soft_wrap=True)
    _print_failures(console, {code: (miss["kind"], miss["reason"]) for code, miss in report.failed.items()})
    _print_not_found(console, report.not_found)
    for error in errors_of(report, catalog):
        console.print(f"[red]{escape(error)}[/red]", soft_wrap=True)
    # A refused run sent no request, and its message has the commands.
    if report.failed or report.is_canceled or (report.recorded and report.n_not_asked):
        command = escape(command_for("retry", settings))
        console.print(f"What was recorded stays. Fetch the rest: [bold]{command}[/bold]", soft_wrap=True)
    if catalog.n_rows:
        store = escape(settings.store)
        console.print(f"Flags are in {store}/flags", soft_wrap=True)
        unchanged = ", unchanged" if catalog.is_current else ""
        console.print(f"The catalog is {store}/catalog/catalog.csv, {catalog.n_rows} rows{unchanged}", soft_wrap=True)


def _print_failures(console: Console, failed: "Mapping[str, tuple[str, str]]") -> None:
    for codes, reason in failure_lines(failed):
        console.print(f"[red]{codes}[/red] {escape(reason)}", soft_wrap=True)


def _print_not_found(console: Console, codes: "Collection[str]") -> None:
    if codes:
        console.print(f"The source does not have {some_codes(sorted(codes), SHOWN_NOT_FOUND)}.", soft_wrap=True)


def _summary_of(report: "RunReport") -> list[str]:
    if not report.requested:
        return ["Nothing to fetch: every country is materialized."]
    failed = f"[red]{len(report.failed)} failed[/red]" if report.failed else "0 failed"
    interrupted = "interrupted: " if report.is_canceled else ""
    not_asked = f", {interrupted}{report.n_not_asked} not asked" if report.n_not_asked else ""
    return [
        (
            f"{report.requested} requested: {report.saved} saved, {report.unchanged} unchanged,"
            f" {len(report.not_found)} not found, {failed}{not_asked}"
        ),
        (
            f"{report.requests} requests, {report.retries} retries, {report.body_bytes / 1000:.1f} kB,"
            f" {report.elapsed_s:.1f} s"
        ),
    ]


def print_renditions(report: "RunReport", settings: Settings) -> None:
    """Print counts, failures with their reasons, and where the renditions are."""
    console = Console(highlight=False)
    for warning in warnings_of(report):
        console.print(f"[yellow]{escape(warning)}[/yellow]", soft_wrap=True)
    failed = f"[red]{len(report.failed)} failed[/red]" if report.failed else "0 failed"
    not_made = f", interrupted: {report.n_not_asked} not made" if report.is_canceled else ""
    counts = f"{report.saved} made, {report.unchanged} unchanged, {len(report.not_found)} without a flag, {failed}"
    console.print(f"{report.requested} countries: {counts}{not_made}", soft_wrap=True)
    _print_failures(console, {code: (miss["kind"], miss["reason"]) for code, miss in report.failed.items()})
    if report.error:
        console.print(f"[red]The run failed: {escape(report.error)}[/red]", soft_wrap=True)
    console.print(f"{', '.join(settings.renditions)} are in {escape(settings.store)}/renditions", soft_wrap=True)


def print_statuses(statuses: "Mapping[str, CountryStatuses]", flags: "StoredFlags", settings: Settings) -> None:
    """Print each asset's status counts, age and source, failures, and what `retry` would fetch."""
    console = Console(highlight=False)
    table = Table("asset", "materialized", "failed", "not found", "missing")
    for name, each in statuses.items():
        counts = (each.materialized, each.failed, each.absent, each.missing)
        table.add_row(name, *(str(len(group)) for group in counts))
    console.print(table)
    if flags.fetched_at:
        console.print(escape(_describe_stored(flags)), soft_wrap=True)
    reasons = {code: miss for each in statuses.values() for code, miss in each.failed.items()}
    _print_failures(console, {code: (miss.kind, miss.reason) for code, miss in reasons.items()})
    _print_not_found(console, {code for each in statuses.values() for code in each.absent})
    lacking = sorted({code for each in statuses.values() for code in each.lacking})
    not_asked = sorted({code for each in statuses.values() for code in each.not_asked})
    store = escape(settings.store)
    if lacking:
        console.print(f"{store} lacks files that Dagster has as materialized: {some_codes(lacking)}", soft_wrap=True)
    if not_asked:
        console.print(f"A run was ended before it asked for {some_codes(not_asked)}", soft_wrap=True)
    if lacking or not_asked:
        command = escape(fetch_command("retry", store=unconfigured_store(settings.store)))
        console.print(f"Fetch them: [bold]{command}[/bold]", soft_wrap=True)


def _describe_stored(flags: "StoredFlags") -> str:
    ages = [_age(time.time() - flags.fetched_at[code]) for code in (flags.newest, flags.oldest)]
    n_flags = f"{len(flags.fetched_at)} flag{'' if len(flags.fetched_at) == 1 else 's'}"
    lines = [f"{n_flags}, fetched {ages[0]} ago"]
    if ages[0] != ages[1]:
        lines = [f"{n_flags}, fetched {ages[0]} to {ages[1]} ago; the oldest is {flags.oldest}"]
    if flags.sources:
        lines.append(f"They came from {describe_sources(flags.sources)}")
    return "\n".join(lines)


def _age(seconds: float) -> str:
    unit, length_s = next((each for each in _UNITS_S.items() if seconds >= each[1]), ("s", 1))
    return f"{max(0, int(seconds // length_s))} {unit}"
