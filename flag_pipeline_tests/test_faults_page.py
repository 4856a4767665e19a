"""The page about faults names tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from flag_pipeline.settings import project_root

TESTS = Path(__file__).parent
PAGE = (project_root() / "docs" / "faults.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([AB]\d) \|(.*)\|$", PAGE, re.MULTILINE)


def named_tests(row: str) -> list[tuple[str, str]]:
    """File and name of each test in a row; a name without a file is in the file before it."""
    found, file = [], ""
    for path, name in re.findall(r"`([\w/]*\.py)?::(\w+)`", row):
        file = path or file
        found.append((file, name))
    return found


@cache
def existing_tests(file: str) -> set[str]:
    """The names of the tests in a file."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def test_every_fault_has_a_row() -> None:
    """The page has nine faults of A and seven of B, each once."""
    assert [fault for fault, _ in ROWS] == [f"A{number}" for number in range(1, 10)] + [f"B{n}" for n in range(1, 8)]


@pytest.mark.parametrize(("fault", "row"), ROWS, ids=[fault for fault, _ in ROWS])
def test_the_tests_of_a_fault_exist(fault: str, row: str) -> None:
    """Each test that the row names is in the file that it names, and there is one."""
    named = named_tests(row)

    assert named, fault
    assert [(file, name) for file, name in named if name not in existing_tests(file)] == []
