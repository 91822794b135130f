"""Files stay below 300 lines and functions below 50, tests included."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE_LINES, FUNCTION_LINES = 300, 50


def tracked_sources() -> dict[str, str]:
    """Texts of the repository's Python files, by name."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return {name: (ROOT / name).read_text() for name in listed.stdout.split() if (ROOT / name).exists()}


def test_no_file_is_too_long():
    lengths = {name: len(text.splitlines()) for name, text in tracked_sources().items()}
    assert lengths and not {name: n for name, n in lengths.items() if n > FILE_LINES}


def test_no_function_is_too_long():
    lengths = {
        f"{name}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, text in tracked_sources().items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert lengths and not {name: n for name, n in lengths.items() if n > FUNCTION_LINES}
