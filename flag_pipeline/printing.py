"""What the command line shows to people: tables and bars."""

from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from flag_pipeline.errors import ErrorKind
from flag_pipeline.printing_json import errors_of
from flag_pipeline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TextIO

    from flag_pipeline.defs.ledger import AssetLedger, RecordedCountry
    from flag_pipeline.launch import CatalogReport, RunReport

SHOWN_REASONS, SHOWN_CODES = 20, 12


@contextmanager
def progress_bar(total: int, terminal: "TextIO") -> "Iterator[Callable[[RecordedCountry], None]]":
    """Show a bar, if it is a terminal, and give what moves it on by one country."""
    console = Console(file=terminal)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Fetching flags", total=total)
        n_failed = 0

        def on_country(country: "RecordedCountry") -> None:
            nonlocal n_failed
            n_failed += country.outcome == "failed"
            failed = f", {n_failed} failed" if n_failed else ""
            progress.update(task, advance=1, description=f"Fetching flags{failed}")

        yield on_country


def print_report(report: "RunReport", catalog: "CatalogReport", settings: Settings) -> None:
    """Print what a run did, what failed and why, and where the files are."""
    console = Console(highlight=False)
    console.print(*_summary_of(report), sep="\n", soft_wrap=True)
    for (kind, reason), codes in sorted(_by_reason(report.failed).items(), key=lambda group: group[1])[:SHOWN_REASONS]:
        console.print(f"[red]{_some(codes)}[/red] {kind}: {escape(reason)}", soft_wrap=True)
    if len(_by_reason(report.failed)) > SHOWN_REASONS:
        console.print("and others: flag-pipeline status")
    if report.not_found:
        console.print(f"The source does not have {' '.join(sorted(report.not_found))}.", soft_wrap=True)
    for error in errors_of(report, catalog):
        console.print(f"[red]{escape(error)}[/red]", soft_wrap=True)
    if report.failed or report.is_canceled:
        console.print("What was recorded stays. The rest again: [bold]flag-pipeline retry[/bold]")
    if catalog.n_rows:
        store = escape(settings.store)
        console.print(f"Flags are in {store}/flags", soft_wrap=True)
        console.print(f"The catalog is {store}/catalog/catalog.csv, {catalog.n_rows} rows", soft_wrap=True)


def _summary_of(report: "RunReport") -> list[str]:
    if not report.requested:
        return ["Nothing to fetch: every country is materialized."]
    failed = f"[red]{len(report.failed)} failed[/red]" if report.failed else "0 failed"
    return [
        (
            f"{report.requested} requested: {report.saved} saved, {report.unchanged} unchanged,"
            f" {len(report.not_found)} not found, {failed}"
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


def print_ledgers(ledgers: "Mapping[str, AssetLedger]") -> None:
    """Print how many countries stand how for each asset, and why the failed ones failed."""
    console = Console(highlight=False)
    table = Table("asset", "materialized", "failed", "not found", "missing")
    for name, ledger in ledgers.items():
        counts = (ledger.materialized, ledger.failed, ledger.not_found, ledger.missing)
        table.add_row(name, *(str(len(group)) for group in counts))
    console.print(table)
    reasons = {code: miss for ledger in ledgers.values() for code, miss in ledger.failed.items()}
    for code, miss in sorted(reasons.items()):
        console.print(f"[red]{code}[/red] {miss.kind}: {escape(miss.reason)}", soft_wrap=True)
