"""The command line as its own process: `flag-pipeline` and `python -m flag_pipeline`."""

import atexit
import gc
import os
import sys

# Alembic and structlog import these to colour tracebacks. None makes that fail, which both handle.
_NOT_NEEDED = ("mako.ext.pygmentplugin", "rich.traceback")
# Set while a shell completes a word; Typer then needs `rich.traceback`.
_COMPLETING = "_FLAG_PIPELINE_COMPLETE"


def run() -> None:
    """Run the command line with less start-up and exit work."""
    if sys.platform == "win32":
        sys.exit("flag-pipeline: Windows is not supported: use Linux, macOS, or Linux in WSL, the Subsystem of Windows")
    # Imports `fcntl`, which Windows does not have.
    from flag_pipeline.cli.app import main

    if _COMPLETING not in os.environ:
        sys.modules.update(dict.fromkeys(_NOT_NEEDED))  # type: ignore[arg-type]
    # Python's thresholds, 700, 10 and 10, cost a second, because the collector repeatedly scans a run's objects, and
    # at exit Dagster's three times.
    gc.set_threshold(50_000, 100, 10)
    atexit.register(gc.freeze)
    main()


if __name__ == "__main__":
    run()
