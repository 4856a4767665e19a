"""The commands `run`, `retry`, `status`, `mirror` and `ui`: options, output and exit codes. Add a command here."""

import importlib.metadata
import json
import os
import sys
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flag_pipeline.cli.arguments import AsJson, Codes, Source, Store, examples
from flag_pipeline.cli.catalog_commands import commands
from flag_pipeline.cli.environment import read_env_file
from flag_pipeline.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, exit_code_of, own_stderr
from flag_pipeline.cli.progress import progress
from flag_pipeline.cli.prune_command import commands as prune_commands
from flag_pipeline.cli.release_commands import commands as release_commands
from flag_pipeline.errors import ConfigurationError, SinkError

# Commands import what they use, so that `--help` and wrong arguments do not wait 0.7 s for Dagster.
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import TextIO

    from dagster import DagsterInstance

    from flag_pipeline.cli.reports import CatalogReport, RunReport
    from flag_pipeline.cli.runs import FetchRequest
    from flag_pipeline.core.listing import StoreListing
    from flag_pipeline.settings import Settings

app = typer.Typer(
    name="flag-pipeline",
    help="Fetch every country's flag in one Dagster run in which each country succeeds or fails on its own.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(commands)
app.add_typer(prune_commands)
app.add_typer(release_commands)

MaxRequests = Annotated[
    int | None,
    typer.Option("--max-requests", "-m", min=1, metavar="N", help="Requests at once. [env: FLAG_MAX_REQUESTS]"),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the run's log instead of a progress bar.")]


def main() -> None:
    """Run the command line; an error is one line on stderr."""
    sys.exit(exit_code_of(_run_app))


def _run_app() -> None:
    read_env_file()
    app()


def _print_version(value: bool) -> None:  # noqa: FBT001 - Typer's callback
    if value:
        print(f"flag-pipeline {importlib.metadata.version('flag-pipeline')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


@app.command(
    epilog=examples("run", "run FR,DE", "run POP20 --store flags", "run --source flagcdn --refetch", takes_codes=True)
)
def run(
    codes: Codes = None,
    source: Source = None,
    store: Store = None,
    max_requests: MaxRequests = None,
    limit: Annotated[int | None, typer.Option("--limit", "-l", min=1, metavar="N", help="Fetch at most N.")] = None,
    refetch: Annotated[
        bool, typer.Option("--refetch", help="Fetch every file in full, although the source says it is unchanged.")
    ] = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Fetch countries in one Dagster run, then rebuild the catalog."""
    from flag_pipeline.cli.instance import open_instance, prepare
    from flag_pipeline.core.layout import FLAGS
    from flag_pipeline.core.selection import select_codes
    from flag_pipeline.images.decoder import start_early
    from flag_pipeline.settings import load_settings, partition_codes, use_dagster_home

    settings = load_settings(source=source, store=store, max_requests=max_requests)
    wanted = select_codes(codes or [], partition_codes(settings))[:limit]
    prepare(use_dagster_home(), settings.store, is_verbose=verbose)
    with suppress(OSError):  # the run says it
        if not Path(settings.store, FLAGS).exists():
            # While Dagster is imported, because a first run decodes every flag.
            start_early()
    with open_instance() as instance:
        from flag_pipeline.cli.runs import FetchRequest

        request = FetchRequest(settings, wanted, refetch=refetch)
        _fetch(instance, [request], settings, verbose=verbose, as_json=as_json)


@app.command(epilog=examples("retry", "retry FR", takes_codes=True))
def retry(
    codes: Codes = None,
    source: Source = None,
    store: Store = None,
    max_requests: MaxRequests = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Fetch again what failed, is missing or was not found.

    Each country is fetched from the source that it was asked for at last. Countries that an interrupted run did not
    ask for count as missing.
    """
    from flag_pipeline.cli.instance import open_instance, prepare
    from flag_pipeline.core.selection import select_codes
    from flag_pipeline.settings import load_settings, partition_codes, use_dagster_home

    settings = load_settings(source=source, store=store, max_requests=max_requests)
    prepare(use_dagster_home(), settings.store, is_verbose=verbose)
    with open_instance() as instance:
        from flag_pipeline.cli.retrying import codes_by_source
        from flag_pipeline.cli.runs import FetchRequest

        missing = codes_by_source(instance, settings, _list_store(settings), source=source)
        selected = select_codes(codes or [], sorted({*partition_codes(settings), *chain(*missing.values())}))
        requests = []
        for name, group in missing.items():
            chosen = load_settings(source=name, store=store, max_requests=max_requests)
            if wanted := [code for code in group if code in selected]:
                requests.append(FetchRequest(chosen, wanted))
        _fetch(instance, requests, settings, verbose=verbose, as_json=as_json)


@app.command(epilog=examples("status", "status --store flags --json"))
def status(store: Store = None, as_json: AsJson = False) -> None:
    """Show which countries failed and why, and how old the flags are.

    The status is the latest recorded outcome, compared with what is in the store.
    """
    from flag_pipeline.cli.instance import is_new, open_instance, say_that_there_is_none
    from flag_pipeline.settings import load_settings, use_dagster_home

    settings = load_settings(store=store)
    home = use_dagster_home(make=False)
    if not (exists := not is_new(home)):
        say_that_there_is_none(home)
    with open_instance(is_persistent=exists) as instance:
        from flag_pipeline.cli.retrying import read_statuses, read_stored_flags

        statuses = read_statuses(instance, settings, _list_store(settings))
        flags = read_stored_flags(instance, statuses["flag_image"])
    if as_json:
        from flag_pipeline.cli.rendering_json import statuses_json, stored_flags_json

        print(json.dumps({name: statuses_json(each) for name, each in statuses.items()} | stored_flags_json(flags)))
    else:
        from flag_pipeline.cli.rendering import print_statuses

        print_statuses(statuses, flags, settings)


@app.command(epilog=examples("mirror", "mirror --delay 0.2 --error-rate 0.1 --seed 1"))
def mirror(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="0 means any free port.")
    ] = 8765,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory", exists=True, file_okay=False, metavar="FOLDER", help="A folder with fr/fr.gif and so on."
        ),
    ] = None,
    delay: Annotated[float, typer.Option("--delay", min=0, metavar="SECONDS", help="Wait before each answer.")] = 0.0,
    error_rate: Annotated[
        float, typer.Option("--error-rate", min=0, max=1, metavar="SHARE", help="Answer so many with 503.")
    ] = 0.0,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Make the errors repeatable.")] = None,
) -> None:
    """Serve flags on 127.0.0.1, with delays and errors.

    It serves the embedded flags, or a folder in the layout of docs/sources.md.
    """
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


@app.command(epilog=examples("ui", "ui --port 3001"))
def ui(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, metavar="PORT", help="Port of the web UI.")] = 3000,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what webserver and daemon do.")] = False,
) -> None:
    """Start the Dagster UI and daemon on 127.0.0.1."""
    from filelock import FileLock, Timeout

    from flag_pipeline.cli.instance import prepare
    from flag_pipeline.settings import load_settings, use_dagster_home, workspace_file
    from flag_pipeline.ui.supervisor import check_port, supervise

    settings = load_settings()  # A wrong setting is one line here, and a traceback in the code server.
    url = f"http://127.0.0.1:{port}"
    level = "info" if verbose else "warning"
    target = ["--workspace", str(workspace_file())]
    webserver = ["-m", "flag_pipeline.ui.webserver", "--port", str(port), "--log-level", level]
    daemon = ["-m", "dagster._daemon", "run", "--log-level", level, "--code-server-log-level", level]
    commands = {"webserver": [sys.executable, *webserver, *target], "daemon": [sys.executable, *daemon, *target]}
    home = use_dagster_home()
    check_port("127.0.0.1", port)
    if not verbose:
        # Dagster warns about its own interfaces, which users cannot change.
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
    folder = None
    if Path(".env").exists():
        # Dagster's processes would prefer their folder's `.env` to the environment, which already has its values.
        folder = home
        os.environ |= {"FLAG_STORE": settings.store, "FLAG_ALLOWED_STORES": ",".join(settings.allowed_stores)}
    try:
        with FileLock(home / "ui.lock", timeout=0):
            prepare(home, settings.store, is_verbose=verbose)
            announce = partial(print, f"{url}  (Ctrl-C stops)", flush=True)
            supervise(commands, f"{url}/server_info", announce, folder=folder)
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
    """Fetch, rebuild the catalog, print the report, and exit."""
    from flag_pipeline.cli import runs
    from flag_pipeline.cli.reports import CatalogReport, RunReport

    report, catalog = RunReport(), CatalogReport()
    log_level = runs.VERBOSE if verbose else runs.QUIET
    with own_stderr(is_shared=verbose) as terminal:
        on_wait = partial(_say_wait, terminal)
        n_countries = sum(len(each.codes) for each in requests)
        with progress("Fetching flags", n_countries, terminal, shown=not (verbose or as_json)) as on_country:
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
        for line in (*warnings_of(report), *errors_of(report, catalog)):
            print(line, file=sys.stderr)
    else:
        from flag_pipeline.cli.rendering import print_report

        print_report(report, catalog, settings)
    raise typer.Exit(_exit_code(report, catalog))


def _list_store(settings: "Settings") -> "StoreListing | None":
    """Return what is in the store; None, with a line on stderr, if it cannot be listed."""
    from flag_pipeline.core.listing import list_store

    try:
        return list_store(settings.store)
    except SinkError as exc:
        print(f"flag-pipeline: {exc}; the files in the store are not checked", file=sys.stderr)
        return None


def _say_wait(terminal: "TextIO", run_ids: "Collection[str]") -> None:
    runs = f"run {' '.join(sorted(run_ids))}" if run_ids else "other runs"
    line = f"flag-pipeline: waiting for {runs} to finish fetching (Ctrl-C stops; terminate a killed run in the UI)"
    print(line, file=terminal, flush=True)


def _exit_code(report: "RunReport", catalog: "CatalogReport") -> int:
    if report.is_canceled or catalog.is_canceled:
        return EXIT_INTERRUPTED
    return EXIT_OK if report.all_fetched and not catalog.error else EXIT_FAILED
