"""What the command line shows to people: tables and bars."""

from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from flag_pipeline.cli.rendering_json import errors_of, warnings_of
from flag_pipeline.defs.commands import command_for, fetch_command, status_command, unconfigured_store
from flag_pipeline.errors import ErrorKind
from flag_pipeline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TextIO

    from flag_pipeline.cli.reports import CatalogReport, RunReport
    from flag_pipeline.defs.statuses import CountryStatuses
    from flag_pipeline.isolation import RecordedOutcome

SHOWN_REASONS, SHOWN_CODES = 20, 12


@contextmanager
def progress_bar(total: int, terminal: "TextIO") -> "Iterator[Callable[[RecordedOutcome], None]]":
    """Show a bar, if it is a terminal, and give what moves it on by one country."""
    console = Console(file=terminal)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Fetching flags", total=total)
        n_failed = 0

        def on_country(country: "RecordedOutcome") -> None:
            nonlocal n_failed
            n_failed += country.outcome == "failed"
            failed = f", {n_failed} failed" if n_failed else ""
            progress.update(task, advance=1, description=f"Fetching flags{failed}")

        yield on_country


def print_report(report: "RunReport", catalog: "CatalogReport", settings: Settings) -> None:
    """Print what a run did, what failed and why, and where the files are."""
    console = Console(highlight=False)
    for warning in warnings_of(report):
        console.print(f"[yellow]{escape(warning)}[/yellow]", soft_wrap=True)
    console.print(*_summary_of(report), sep="\n", soft_wrap=True)
    for (kind, reason), codes in sorted(_by_reason(report.failed).items(), key=lambda group: group[1])[:SHOWN_REASONS]:
        console.print(f"[red]{_some(codes)}[/red] {kind}: {escape(reason)}", soft_wrap=True)
    if len(_by_reason(report.failed)) > SHOWN_REASONS:
        console.print(f"and others: {escape(status_command(settings))}", soft_wrap=True)
    if report.not_found:
        console.print(f"The source does not have {' '.join(sorted(report.not_found))}.", soft_wrap=True)
    for error in errors_of(report, catalog):
        console.print(f"[red]{escape(error)}[/red]", soft_wrap=True)
    # A run that was refused asked for nothing: its message has the commands.
    if report.failed or report.is_canceled or (report.recorded and report.n_not_asked):
        command = escape(command_for("retry", settings))
        console.print(f"What was recorded stays. The rest again: [bold]{command}[/bold]", soft_wrap=True)
    if catalog.n_rows:
        store = escape(settings.store)
        console.print(f"Flags are in {store}/flags", soft_wrap=True)
        console.print(f"The catalog is {store}/catalog/catalog.csv, {catalog.n_rows} rows", soft_wrap=True)


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


def _by_reason(failed: "Mapping[str, Mapping[str, str]]") -> dict[tuple[str, str], list[str]]:
    # When a host is down, that is one line to read, not 249; the few countries that found out say it each in its words.
    down = Counter(miss["reason"] for miss in failed.values() if miss["kind"] == ErrorKind.SOURCE_DOWN)
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for code, miss in sorted(failed.items()):
        reason = down.most_common(1)[0][0] if miss["kind"] == ErrorKind.SOURCE_DOWN else miss["reason"]
        groups[miss["kind"], reason].append(code)
    return groups


def _some(codes: list[str]) -> str:
    more = f" and {len(codes) - SHOWN_CODES} more" if len(codes) > SHOWN_CODES else ""
    return f"{' '.join(codes[:SHOWN_CODES])}{more}"


def print_statuses(statuses: "Mapping[str, CountryStatuses]", settings: Settings) -> None:
    """Print how many countries stand how for each asset, why the failed ones failed, and what `retry` would fetch."""
    console = Console(highlight=False)
    table = Table("asset", "materialized", "failed", "not found", "missing")
    for name, each in statuses.items():
        counts = (each.materialized, each.failed, each.absent, each.missing)
        table.add_row(name, *(str(len(group)) for group in counts))
    console.print(table)
    reasons = {code: miss for each in statuses.values() for code, miss in each.failed.items()}
    for code, miss in sorted(reasons.items()):
        console.print(f"[red]{code}[/red] {miss.kind}: {escape(miss.reason)}", soft_wrap=True)
    lacking = sorted({code for each in statuses.values() for code in each.lacking})
    not_asked = sorted({code for each in statuses.values() for code in each.not_asked})
    store = escape(settings.store)
    if lacking:
        console.print(f"{store} lacks files that Dagster has as materialized: {_some(lacking)}", soft_wrap=True)
    if not_asked:
        console.print(f"A run was ended before it asked for {_some(not_asked)}", soft_wrap=True)
    if lacking or not_asked:
        command = escape(fetch_command("retry", store=unconfigured_store(settings.store)))
        console.print(f"Fetch them: [bold]{command}[/bold]", soft_wrap=True)
