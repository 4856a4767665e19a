"""`python -m flag_pipeline`: the command line."""

from flag_pipeline.cli import main

if __name__ == "__main__":
    main()
