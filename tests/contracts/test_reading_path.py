"""The path that the README gives for reading the code: every function on it calls the next.

One does not: `run_and_report` reads an iterator, which its caller makes by calling `run_stages`.
"""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READER, YIELDER = "run_and_report", "run_stages"
STEP = re.compile(r"^\d+\. `(\w+)` in `([\w/]+\.py)`", re.MULTILINE)


def reading_path() -> list[tuple[str, str]]:
    """(function, file) from the command to the training step, as the README lists them."""
    section = (ROOT / "README.md").read_text().partition("## Reading the code")[2]
    return STEP.findall(section.partition("\n## ")[0])


def function(name: str, file: str) -> ast.FunctionDef:
    """A function or method of a file; fails if there is none, or more than one."""
    tree = ast.parse((ROOT / file).read_text())
    (found,) = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name]
    return found


def names_in(node: ast.AST) -> set[str]:
    """Names and attributes used in a function: what it calls, or passes on to be called."""
    names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return names | {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}


def test_the_path_leads_from_the_command_to_the_training_step():
    path = reading_path()
    assert path[0] == ("run", "workflows/cli/run.py")
    assert ("run_workflow", "workflows/pipeline.py") in path
    assert path[-1] == ("step", "tsme/training/reid.py")
    assert len(path) <= 13


@pytest.mark.parametrize(("caller", "callee"), list(pairwise(reading_path())), ids=lambda pair: pair[0])
def test_each_function_calls_the_next(caller: tuple[str, str], callee: tuple[str, str]):
    assert function(*callee).body
    if (caller[0], callee[0]) == (READER, YIELDER):
        path = reading_path()
        caller = path[path.index(caller) - 1]
        assert READER in names_in(function(*caller))
    assert callee[0] in names_in(function(*caller))
