"""The command line in this process, as a test uses it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from typer.testing import CliRunner, Result

from flag_pipeline.cli.app import app
from flag_pipeline.cli.runs import open_instance


@dataclass(frozen=True, slots=True)
class Shell:
    """The command line in this process, on a home and a store of its own."""

    store: Path

    def __call__(self, *arguments: str, expect: int = 0) -> Result:
        """Run a command to its end, which must be the expected exit code."""
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == expect, (arguments, result.output, result.exception)
        return result

    def json(self, *arguments: str, expect: int = 0) -> Any:
        """Run a command and return the one object that it prints."""
        return json.loads(self(*arguments, "--json", expect=expect).stdout)

    def stats(self) -> dict[str, tuple[int, int]]:
        """The inode and time of change of each file in the store, by its path below it."""
        found = {path: path.stat() for path in self.store.rglob("*") if path.is_file()}
        return {str(path.relative_to(self.store)): (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}

    def check(self, name: str) -> dg.AssetCheckEvaluation:
        """Return the latest evaluation of a check of the catalog."""
        key = dg.AssetCheckKey(dg.AssetKey("flag_catalog"), name)
        with open_instance() as instance:
            (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert record.event is not None
        assert record.event.dagster_event is not None
        return record.event.dagster_event.asset_check_evaluation_data
