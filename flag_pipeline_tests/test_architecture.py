"""The house rules that a machine can hold."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import flag_pipeline
from flag_pipeline.errors import ErrorKind

PACKAGE = Path(flag_pipeline.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "util"}
# What each folder, or module on the top level, may import; each may import its own modules.
LEAVES = {"addresses", "bounds", "errors", "workers"}
TOOLS = {"fetching", "images", "stores", *LEAVES}
IMPORTS = {
    **{leaf: set() for leaf in LEAVES},
    "fetching": LEAVES,
    "images": LEAVES,
    "stores": LEAVES,
    "core": TOOLS,
    "catalog": {"core", *TOOLS},
    "isolation": set(),
    "dagster_storage": set(),
    "settings": {"core", "fetching", *LEAVES},
    "ui": {"settings", "addresses", "errors"},
    "defs": {"isolation", "dagster_storage", "catalog", "core", "settings", *TOOLS},
    "definitions": {"defs", "settings", "errors"},
    "cli": {"definitions", "defs", "isolation", "dagster_storage", "catalog", "core", "settings", "ui", *TOOLS},
    "__main__": {"cli"},
    "__init__": set(),
    # Paths that existing dagster.yaml files name.
    "event_log": {"dagster_storage"},
    "run_storage": {"dagster_storage"},
    "postgres_event_log": {"dagster_storage"},
    "run_queue": {"dagster_storage"},
}
WITHOUT_DAGSTER = {"settings", "core", "catalog", *TOOLS}
LIBRARIES_OF_THE_SHELL = {"dagster", "typer", "rich"}


def name_of(module: Path) -> str:
    """The module's path below the package; it names the test."""
    return str(module.relative_to(PACKAGE))


def room_of(module: Path) -> str:
    """The folder, or the file on the top level, that a module belongs to."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(module: Path) -> set[str]:
    """Full names of everything that the module imports, at its top, in functions and for the type checker."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_imports_go_one_way(module: Path) -> None:
    """Each folder imports only what the table lists."""
    own = {name.split(".")[1] for name in imports_of(module) if name.startswith("flag_pipeline.")}

    assert own <= {*IMPORTS[room_of(module)], room_of(module)}


@pytest.mark.parametrize("module", [path for path in MODULES if room_of(path) in WITHOUT_DAGSTER], ids=name_of)
def test_core_knows_neither_dagster_nor_the_terminal(module: Path) -> None:
    """It can be used, and tested, without either."""
    assert not {name.split(".")[0] for name in imports_of(module)} & LIBRARIES_OF_THE_SHELL


def test_importing_the_core_loads_no_dagster() -> None:
    """The modules that the core imports load no Dagster either."""
    names = [
        ".".join(["flag_pipeline", *path.relative_to(PACKAGE).with_suffix("").parts])
        for path in MODULES
        if room_of(path) in WITHOUT_DAGSTER
    ]
    program = f"import sys, importlib\nfor n in {names!r}: importlib.import_module(n)\nprint(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert not {name.split(".")[0] for name in loaded.split()} & LIBRARIES_OF_THE_SHELL


def test_storages_load_nothing_of_the_flags() -> None:
    """Another project can use them alone."""
    names = [
        f"flag_pipeline.dagster_storage.{path.stem}"
        for path in (PACKAGE / "dagster_storage").glob("*.py")
        if path.stem not in {"__init__", "postgres_event_log"}  # dagster-postgres is an extra
    ]
    program = f"import sys, importlib\nfor n in {names!r}: importlib.import_module(n)\nprint(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert {name for name in loaded if name.startswith("flag_pipeline.")} == {"flag_pipeline.dagster_storage", *names}
    assert not {name.split(".")[0] for name in loaded} & {"aiohttp", "PIL"}


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether the handler catches every exception: alone, in a tuple, or without a class."""
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else set()
    return handler.type is None or bool(names & {"Exception", "BaseException"})


def test_broad_excepts_are_at_boundaries() -> None:
    """The command line, the decoder, a partition and a worker thread have one each, named in a comment."""
    boundaries = [
        (name_of(module), *re.findall(r"# .*boundary of (.*)", "\n".join(lines[node.lineno - 2 : node.lineno])))
        for module in MODULES
        for lines in [module.read_text().splitlines()]
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, ast.ExceptHandler) and is_broad(node)
    ]

    assert boundaries == [
        ("cli/errors.py", "the command line"),
        ("images/decoding.py", "the decoder: damaged bytes raise almost any exception in Pillow."),
        ("isolation/attempts.py", "a partition"),
        ("workers.py", "a worker thread"),
    ]


def test_every_kind_of_error_can_occur() -> None:
    """A word that nothing uses would promise a report that never comes."""
    used = {
        node.attr
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ErrorKind"
    }

    assert used >= set(ErrorKind.__members__)


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_module_has_a_name_and_short_functions(module: Path) -> None:
    """A module is named after its subject, and a function fits on a screen."""
    tree = ast.parse(module.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    assert module.stem not in FORBIDDEN_NAMES
    assert [node.name for node in functions if lines_without_docstring(node) > 50] == []


def lines_without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How long a function is, its docstring left out."""
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def test_build_requirements_are_pinned() -> None:
    """What builds the package has one version, and the same one where the package itself uses it too."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    build, tests = (
        dict(pin.split("==") for pin in project["tool"]["uv"][f"{prefix}constraint-dependencies"])
        for prefix in ("build-", "")
    )
    required = {re.split(r"[<>=~!\[ ]", line)[0] for line in project["build-system"]["requires"]}

    assert required <= build.keys()
    assert {name: tests[name] for name in build.keys() & tests.keys()}.items() <= build.items()
