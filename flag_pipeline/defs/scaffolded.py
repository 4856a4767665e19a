"""Definitions that `dg scaffold defs` adds to this folder."""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster.components.core.component_tree import ComponentTree
from dagster_shared.utils.config import discover_config_file

from flag_pipeline.errors import ConfigurationError

FOLDER = Path(__file__).parent
_COMPONENT_FILES = {"defs.yaml", "defs.yml", "component.yaml"}
# Has no definitions: `dg list envs` reads it.
_ENVIRONMENT = FOLDER / "environment"


@functools.cache  # later calls would find them imported
def scaffolded_definitions(folder: Path = FOLDER) -> dg.Definitions:
    """Return the definitions of files in the folder that nothing imports.

    Raises ConfigurationError for such files outside a dg project, because Dagster does not load them.
    """
    found = sorted(_not_imported(folder))
    if not found:
        return dg.Definitions()
    tree = ComponentTree.for_project(folder) if discover_config_file(folder) else None
    if tree is None or tree.defs_module_path != folder:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise ConfigurationError(f"{folder} has files that only a dg project loads ({names}): add them to a checkout")
    return dg.Definitions.merge(*(tree.build_defs(path.relative_to(folder)) for path in found))


def _not_imported(folder: Path) -> Iterator[Path]:
    """Yield Python files, and the folders of components."""
    imported = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for path in folder.rglob("*"):
        if path.suffix == ".py" and path.name != "__init__.py" and str(path) not in imported:
            yield path
        elif path.name in _COMPONENT_FILES and path.parent != _ENVIRONMENT:
            yield path.parent
