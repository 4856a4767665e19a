"""The command line: parses, prints and chooses the exit code. The work is done elsewhere."""

import gc
import json
import os
import sys
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flag_pipeline.cli.catalog_commands import commands
from flag_pipeline.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, exit_code_of, own_stderr
from flag_pipeline.errors import ConfigurationError, SinkError

# Each command imports what it uses: `--help` needs nothing, and only what has passed all checks of the arguments waits
# for Dagster, which takes most of a second.
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager
    from typing import TextIO

    from dagster import DagsterInstance

    from flag_pipeline.cli.reports import CatalogReport, RunReport
    from flag_pipeline.cli.runs import FetchRequest
    from flag_pipeline.core.listing import StoreListing
    from flag_pipeline.isolation import RecordedOutcome
    from flag_pipeline.settings import Settings

app = typer.Typer(
    name="flag-pipeline",
    help="Fetch every country's flag in one Dagster run in which each country succeeds or fails on its own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(commands)

Source = Annotated[
    str | None,
    typer.Option("--source", help="A preset (embedded, fluentpython, flagcdn) or a base URL. [env: FLAG_SOURCE]"),
]
Store = Annotated[str | None, typer.Option("--store", help="A folder or a URL to store to. [env: FLAG_STORE]")]
MaxRequests = Annotated[
    int | None,
    typer.Option("--max-requests", "-m", min=1, help="Requests under way at once. [env: FLAG_MAX_REQUESTS]"),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the run's log instead of a progress bar.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def main() -> None:
    """Run the command line; an error is one line on stderr."""
    sys.exit(exit_code_of(app))


@app.command()
def run(
    codes: Annotated[
        list[str] | None,
        typer.Argument(help="Codes such as CN, a letter for all that start with it, or POP20. None means all."),
    ] = None,
    source: Source = None,
    store: Store = None,
    max_requests: MaxRequests = None,
    limit: Annotated[int | None, typer.Option("--limit", "-l", min=1, help="Fetch at most so many.")] = None,
    refetch: Annotated[
        bool, typer.Option("--refetch", help="Fetch every file in full, although the source says it is unchanged.")
    ] = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Fetch countries in one Dagster run, then rebuild the catalog."""
    from flag_pipeline.core.countries import select_codes
    from flag_pipeline.settings import load_settings, partition_codes

    settings = load_settings(source=source, store=store, max_requests=max_requests)
    wanted = select_codes(codes or [], partition_codes(settings))[:limit]
    with _open_instance() as instance:
        from flag_pipeline.cli.runs import FetchRequest

        request = FetchRequest(settings, wanted, refetch=refetch)
        _fetch(instance, [request], settings, verbose=verbose, as_json=as_json)


@app.command()
def retry(
    source: Source = None,
    store: Store = None,
    max_requests: MaxRequests = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Fetch again what is not materialized, not in the store or was not asked for, from where it was asked for last."""
    from flag_pipeline.settings import load_settings

    settings = load_settings(source=source, store=store, max_requests=max_requests)
    with _open_instance() as instance:
        from flag_pipeline.cli.retrying import codes_by_source
        from flag_pipeline.cli.runs import FetchRequest

        requests = []
        for name, codes in codes_by_source(instance, settings, _list_store(settings), source=source).items():
            chosen = load_settings(source=name, store=store, max_requests=max_requests)
            requests.append(FetchRequest(chosen, codes))
        _fetch(instance, requests, settings, verbose=verbose, as_json=as_json)


@app.command()
def status(store: Store = None, as_json: AsJson = False) -> None:
    """Show how each country stands, by its latest recorded outcome and by what the store has."""
    from flag_pipeline.settings import load_settings

    settings = load_settings(store=store)
    with _open_instance() as instance:
        from flag_pipeline.cli.retrying import read_statuses

        statuses = read_statuses(instance, settings, _list_store(settings))
    if as_json:
        from flag_pipeline.cli.rendering_json import statuses_json

        print(json.dumps({name: statuses_json(each) for name, each in statuses.items()}))
    else:
        from flag_pipeline.cli.rendering import print_statuses

        print_statuses(statuses, settings)


@app.command()
def mirror(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 means any free one.")] = 8765,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", exists=True, file_okay=False, help="A folder of the book's layout."),
    ] = None,
    delay: Annotated[float, typer.Option("--delay", min=0, help="Seconds before each answer.")] = 0.0,
    error_rate: Annotated[float, typer.Option("--error-rate", min=0, max=1, help="Share of 503 answers.")] = 0.0,
    seed: Annotated[int | None, typer.Option("--seed", help="Makes the errors repeatable.")] = None,
) -> None:
    """Serve the embedded flags, or a folder of them, on 127.0.0.1, with delays and errors to practise on."""
    import asyncio

    from flag_pipeline.core.mirror import FolderOfFlags, Mirror, PackagedFlags, serving

    provider = FolderOfFlags(directory) if directory else PackagedFlags()

    async def serve() -> None:
        practice = Mirror(provider, delay_s=delay, error_rate=error_rate, seed=seed)
        async with serving(practice, port=port) as url:
            print(url, flush=True)
            print(f"Serving flags; try: flag-pipeline run --source {url}  (Ctrl-C stops)", file=sys.stderr)
            await asyncio.Event().wait()

    asyncio.run(serve())


@app.command()
def ui(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the web UI.")] = 3000,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what webserver and daemon do.")] = False,
) -> None:
    """Start the Dagster UI and daemon on the persistent instance, on 127.0.0.1."""
    from filelock import FileLock, Timeout

    from flag_pipeline.settings import dagster_home, load_settings, workspace_file
    from flag_pipeline.ui.supervisor import check_port, supervise

    load_settings()  # A mistake in them is one line here, and a traceback in the code server.
    url = f"http://127.0.0.1:{port}"
    level = "info" if verbose else "warning"
    target = ["--workspace", str(workspace_file())]
    webserver = ["-m", "flag_pipeline.ui.webserver", "--port", str(port), "--log-level", level]
    daemon = ["-m", "dagster._daemon", "run", "--log-level", level, "--code-server-log-level", level]
    commands = {"webserver": [sys.executable, *webserver, *target], "daemon": [sys.executable, *daemon, *target]}
    home = dagster_home()
    check_port("127.0.0.1", port)
    if not verbose:
        # Dagster's warnings about its own interfaces tell a user nothing.
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
    try:
        with FileLock(home / "ui.lock", timeout=0):
            supervise(commands, f"{url}/server_info", lambda: print(f"{url}  (Ctrl-C stops)", flush=True))
    except Timeout as exc:
        raise ConfigurationError(f"flag-pipeline ui is running on {home} already: stop it first") from exc


def _fetch(
    instance: "DagsterInstance",
    requests: "list[FetchRequest]",
    settings: "Settings",
    *,
    verbose: bool,
    as_json: bool,
) -> None:
    """Fetch, rebuild the catalog, print, and exit with the code that says how it went."""
    from flag_pipeline.cli import runs
    from flag_pipeline.cli.reports import CatalogReport, RunReport

    report, catalog = RunReport(), CatalogReport()
    log_level = runs.VERBOSE if verbose else runs.QUIET
    with own_stderr(is_shared=verbose) as terminal:
        on_wait = partial(_say_wait, terminal)
        n_countries = sum(len(each.codes) for each in requests)
        with _progress(n_countries, terminal, shown=not (verbose or as_json)) as on_country:
            for request in requests:
                report.include(runs.fetch(instance, request, on_country, on_wait=on_wait, log_level=log_level))
                if report.is_canceled:
                    break
        if len(requests) == 1:
            settings = requests[0].settings
        if not (report.is_canceled or report.n_not_asked):
            catalog = runs.rebuild(instance, settings)
    if as_json:
        from flag_pipeline.cli.rendering_json import errors_of, report_json, warnings_of

        print(json.dumps(report_json(report, catalog, settings)))
        print(*warnings_of(report), *errors_of(report, catalog), sep="\n", end="", file=sys.stderr)
    else:
        from flag_pipeline.cli.rendering import print_report

        print_report(report, catalog, settings)
    raise typer.Exit(_exit_code(report, catalog))


def _list_store(settings: "Settings") -> "StoreListing | None":
    """Return what the store has; None, and a line on stderr, if it cannot be listed."""
    from flag_pipeline.core.listing import list_store

    try:
        return list_store(settings.store)
    except SinkError as exc:
        print(f"flag-pipeline: {exc}; what the store has is not taken into account", file=sys.stderr)
        return None


@contextmanager
def _open_instance() -> "Iterator[DagsterInstance]":
    """Import Dagster and open its instance, without the garbage collector: a million objects are made, and all stay."""
    with ExitStack() as opened:
        gc.disable()
        try:
            from flag_pipeline.cli.runs import open_instance

            instance = opened.enter_context(open_instance())
            gc.freeze()
        finally:
            gc.enable()
        yield instance


def _progress(
    total: int, terminal: "TextIO", *, shown: bool
) -> "AbstractContextManager[Callable[[RecordedOutcome], None]]":
    """Give what is to hear of each country: a bar, or nothing."""
    if not shown:
        return nullcontext(lambda _country: None)
    from flag_pipeline.cli.rendering import progress_bar

    return progress_bar(total, terminal)


def _say_wait(terminal: "TextIO", run_ids: "Collection[str]") -> None:
    runs = f"run {' '.join(sorted(run_ids))} is" if run_ids else "others are"
    print(f"flag-pipeline: waiting, for {runs} fetching (Ctrl-C stops)", file=terminal, flush=True)


def _exit_code(report: "RunReport", catalog: "CatalogReport") -> int:
    if report.is_canceled or catalog.is_canceled:
        return EXIT_INTERRUPTED
    return EXIT_OK if report.all_fetched and not catalog.error else EXIT_FAILED
