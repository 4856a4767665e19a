"""Arguments and options that several commands share, with their completion in a shell."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from flag_pipeline.addresses import store_may_hold_secret
from flag_pipeline.core.presets import PRESETS


def below_current_folder(store: str | None) -> str | None:
    """Return the value of `--store`, a relative folder as an absolute one; it is checked later."""
    if not store or not store.strip() or store.startswith("~") or "\0" in store or store_may_hold_secret(store):
        return store
    return store if "://" in store else str(Path.cwd() / store)


def complete_codes(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield codes and names that begin with what follows the last comma of *incomplete*."""
    from flag_pipeline.core.countries import iso_codes, iso_country

    before, comma, word = incomplete.rpartition(",")
    for code in iso_codes():
        if code.startswith(word.upper()):
            # Typer drops what does not begin with the typed letters.
            yield f"{before}{comma}{code.lower() if word.islower() else code}", iso_country(code).name


def complete_source(incomplete: str) -> list[str]:
    """Return the presets that begin with *incomplete*."""
    return [name for name in PRESETS if name.startswith(incomplete)]


def complete_store(incomplete: str) -> list[str]:
    """Return the folders that begin with *incomplete*."""
    start = Path(incomplete)
    folder = start if incomplete.endswith("/") else start.parent
    prefix = "" if incomplete.endswith("/") else start.name
    try:
        return [f"{path}/" for path in sorted(folder.iterdir()) if path.name.startswith(prefix) and path.is_dir()]
    except OSError:
        return []


def examples(*lines: str, takes_codes: bool = False) -> str:
    """Return the end of a command's help: what a code is, if it *takes_codes*, and one example per line."""
    text = "\n".join(["\b", "Examples:", *(f"  flag-pipeline {line}" for line in lines)])
    return f"{_CODE}\n\n{text}" if takes_codes else text


_CODE = (
    "A CODE is FR, FRA, 250, .fr or a name such as 'Ivory Coast'; a letter stands for all codes that start with it, "
    "POP20 for the twenty most populous countries. None means all."
)
Codes = Annotated[
    list[str] | None,
    # Hidden, because Typer would describe it as `CODE <list[str]>`.
    typer.Argument(metavar="CODE", autocompletion=complete_codes, hidden=True),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="SOURCE",
        autocompletion=complete_source,
        help="A preset, such as flagcdn-svg, or a base URL. [env: FLAG_SOURCE]",
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="STORE",
        callback=below_current_folder,
        autocompletion=complete_store,
        help="A folder or a URL. [env: FLAG_STORE]",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
