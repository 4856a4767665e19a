"""`flag-pipeline` and `python -m flag_pipeline`: the command line in a process of its own."""

import atexit
import gc
import sys

# Alembic and structlog would import these, and with them pygments, to colour tracebacks that nobody sees here. Both do
# without where there is no such module, which is what None says.
_NOT_NEEDED = ("mako.ext.pygmentplugin", "rich.traceback")


def run() -> None:
    """Run the command line, and spare the process what it has no use for."""
    if sys.platform == "win32":
        sys.exit("flag-pipeline: Windows is not supported: use Linux, macOS, or Linux in WSL, the Subsystem of Windows")
    # It imports `fcntl`, which Windows does not have.
    from flag_pipeline.cli.app import main

    sys.modules.update(dict.fromkeys(_NOT_NEEDED))  # type: ignore[arg-type]
    # With Python's own thresholds, 700, 10 and 10, the collector looks through a run's objects again and again, and at
    # the end of the process three times more through those of Dagster too: a second in all.
    gc.set_threshold(50_000, 100, 10)
    atexit.register(gc.freeze)
    main()


if __name__ == "__main__":
    run()
