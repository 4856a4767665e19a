"""`flag-pipeline` and `python -m flag_pipeline`: the command line in a process of its own."""

import atexit
import gc

from flag_pipeline.cli import main


def run() -> None:
    """Run the command line, and spare the process what the garbage collector would cost it."""
    # Importing Dagster makes a million objects that stay. With Python's own thresholds, 700, 10 and 10, the collector
    # looks through them again and again, and at the end of the process three times more: a second in all.
    gc.set_threshold(50_000, 100, 10)
    atexit.register(gc.freeze)
    main()


if __name__ == "__main__":
    run()
