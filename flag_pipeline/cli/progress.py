"""The progress bar of a run, without importing Rich where none is shown."""

from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import TextIO

    from flag_pipeline.isolation import RecordedOutcome


def progress(
    title: str, total: int, terminal: "TextIO", *, shown: bool
) -> "AbstractContextManager[Callable[[RecordedOutcome], None]]":
    """Return the callback per recorded country: it moves a progress bar, or does nothing."""
    if not shown:
        return nullcontext(lambda _country: None)
    from flag_pipeline.cli.rendering import progress_bar

    return progress_bar(title, total, terminal)
