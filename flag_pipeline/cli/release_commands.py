"""The commands `render`, `release` and `verify`: options, output and exit codes."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from flag_pipeline.cli.arguments import AsJson, Codes, Store, examples
from flag_pipeline.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, own_stderr
from flag_pipeline.cli.progress import progress
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.settings import load_settings, partition_codes, use_dagster_home

commands = typer.Typer()


@commands.command(epilog=examples("render", "render FR,DE", takes_codes=True))
def render(codes: Codes = None, store: Store = None, as_json: AsJson = False) -> None:
    """Make the sizes and shapes that FLAG_RENDITIONS names.

    Nothing is made again for a flag that has not changed.
    """
    from flag_pipeline.cli.instance import open_instance, prepare
    from flag_pipeline.core.selection import select_codes

    settings = load_settings(store=store)
    if not settings.renditions:
        raise ConfigurationError("FLAG_RENDITIONS names nothing to make; set it, for example to w160,square64,circle64")
    wanted = select_codes(codes or [], partition_codes(settings))
    prepare(use_dagster_home(), settings.store, is_verbose=False)
    with open_instance() as instance, own_stderr(is_shared=False) as terminal:
        from flag_pipeline.cli import runs

        with progress("Making renditions", len(wanted), terminal, shown=not as_json) as on_country:
            report = runs.render(instance, settings, wanted, on_country)
        if not report.is_canceled:
            runs.write_rendition_table(instance, settings)
    if as_json:
        from flag_pipeline.cli.rendering_json import renditions_json

        print(json.dumps(renditions_json(report, settings)))
    else:
        from flag_pipeline.cli.rendering import print_renditions

        print_renditions(report, settings)
    if report.is_canceled:
        raise typer.Exit(EXIT_INTERRUPTED)
    if not report.all_fetched:
        raise typer.Exit(EXIT_FAILED)


@commands.command(epilog=examples("release", "release --store flags"))
def release(store: Store = None, as_json: AsJson = False) -> None:
    """Pack all flags, renditions and the catalog into one zip file.

    The same flags, names and renditions give no new release.
    """
    from flag_pipeline.cli.instance import open_instance, prepare

    settings = load_settings(store=store)
    prepare(use_dagster_home(), settings.store, is_verbose=False)
    with open_instance() as instance, own_stderr(is_shared=False):
        from flag_pipeline.cli import runs

        made = runs.release(instance, settings)
    if as_json:
        print(json.dumps(made))
    else:
        what = "" if made["is_new"] else ", as before: nothing has changed"
        print(f"{made['file']}{what}")
        print(f"{made['n_flags']} flags, {made['n_files']} files, {made['size_bytes'] / 1e6:.1f} MB")


@commands.command(epilog=examples("verify data/release/flags-2026-11-26.zip"))
def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", exists=True, hidden=True)],
) -> None:
    """Check a release against its manifest.

    PATH is the release's zip file, or the folder that it is unpacked in.
    """
    from flag_pipeline.catalog.manifest import verify_release

    n_files, problems = verify_release(path)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print(f"{path} is damaged: {len(problems)} of {n_files} files", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED)
    print(f"{path} is whole: {n_files} files")
