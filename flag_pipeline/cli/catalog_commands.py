"""The commands `catalog`, `changes`, `open` and `coverage`: options, output and exit codes."""

import asyncio
import json
import sys
import webbrowser
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from flag_pipeline.cli.arguments import AsJson, Codes, Source, Store, examples
from flag_pipeline.cli.errors import EXIT_FAILED
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.settings import load_settings

commands = typer.Typer()

AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")]


@commands.command(
    epilog=examples("catalog", "catalog FR DE --language fr", "catalog --csv > flags.csv", takes_codes=True)
)
def catalog(
    codes: Codes = None,
    store: Store = None,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="LANGUAGE", help="Print names in a language such as fr or pt-BR."),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print the catalog's rows."""
    # `--help` does not need Pillow and the tables of ISO 3166-1.
    from flag_pipeline.catalog.published import read_catalog
    from flag_pipeline.catalog.rows import CATALOG_SCHEMA
    from flag_pipeline.cli.rendering_catalog import print_catalog, print_table
    from flag_pipeline.core.names import names_in
    from flag_pipeline.core.selection import select_codes

    rows = {row.code: row for row in read_catalog(load_settings(store=store).store)}
    wanted = [rows[code] for code in select_codes(codes or [], rows)]
    if language is not None:
        names = names_in(language)
        wanted = [replace(row, name=names.get(row.code, row.name)) for row in wanted]
    if as_json or as_csv:
        print_table(CATALOG_SCHEMA, wanted, _format(as_json=as_json, as_csv=as_csv))
    else:
        print_catalog(wanted)


@commands.command(epilog=examples("changes", "changes --since 2026-01-31"))
def changes(
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            metavar="DATE",
            help="Leave out older ones; UTC, such as 2026-01-31 or 2026-01-31T12:00:00.",
        ),
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print which flags changed, newest first."""
    from flag_pipeline.catalog.history import CHANGES_SCHEMA
    from flag_pipeline.catalog.published import read_changes
    from flag_pipeline.cli.rendering_catalog import print_changes, print_table

    found = read_changes(load_settings(store=store).store, since=since.replace(tzinfo=UTC) if since else None)
    if as_json or as_csv:
        print_table(CHANGES_SCHEMA, found, _format(as_json=as_json, as_csv=as_csv))
    else:
        print_changes(found)


@commands.command("open", epilog=examples("open", "open --store flags"))
def open_page(store: Store = None) -> None:
    """Open the catalog's page in the browser, and print its address."""
    from flag_pipeline.catalog.published import page_address

    address = page_address(load_settings(store=store).store)
    print(address)
    if not webbrowser.open(address):
        print("flag-pipeline: no browser was found; open the address above in one", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED)


@commands.command(epilog=examples("coverage --source flagcdn", "coverage --every"))
def coverage(
    source: Source = None,
    every: Annotated[bool, typer.Option("--every", help="Ask for all pairs of letters from AA to ZZ.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the source which countries it lacks.

    The exit code is 1 if it did not answer for all of them.
    """
    from flag_pipeline.cli.rendering_catalog import coverage_json, print_coverage
    from flag_pipeline.core.coverage import Coverage, codes_to_ask, survey
    from flag_pipeline.core.flag_source import open_source

    settings, codes = load_settings(source=source), codes_to_ask(every=every)

    async def ask() -> Coverage:
        async with open_source(settings) as opened:
            return await survey(opened, codes, timeout_s=settings.sweep_timeout_s)

    found = asyncio.run(ask())
    if as_json:
        print(json.dumps(coverage_json(found)))
    else:
        print_coverage(found, settings.source, every=every)
    if found.unknown:
        raise typer.Exit(EXIT_FAILED)


def _format(*, as_json: bool, as_csv: bool) -> str:
    if as_json and as_csv:
        raise ConfigurationError("--json and --csv are two formats; choose one")
    return "json" if as_json else "csv"
