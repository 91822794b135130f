"""Names in the documents exist: commands and options, configuration keys, files, headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

from tsme.config import Config
from workflows.cli.main import app
from workflows.cli.options import build_config

ROOT = Path(__file__).parents[2]
NAMES = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
]
TEXT = {name: (ROOT / name).read_text() for name in NAMES}
# A command alone, after variables, after the -- of a job, or as a container's arguments.
COMMAND = re.compile(
    r"(?:^(?:\w+=\S+ )*|-- )(?:tsme|python -m workflows)(?: (.*)|$)"
    r"|^docker run (?!.*--entrypoint).*? tsme:\w+ (.*)"
)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"--set (\S+)")
KEY = re.compile(rf"(?:{'|'.join(Config.model_fields)})\.(?!json)[a-z_.]+(?:=\S+)?")
FILE = re.compile(r"(?:tsme|tune|workflows|tests|docs|docker|k8s)/[\w./-]+")
LINK = re.compile(r"\]\((?!https://)([^)\s]+)\)")


def shell(text: str) -> list[str]:
    """The lines of the shell blocks; lines continued by a backslash are joined."""
    blocks = [block for language, block in FENCED.findall(text) if language == "sh"]
    return [line for block in blocks for line in re.sub(r"\\\n *", "", block).splitlines()]


def prose(text: str) -> list[str]:
    """Code in single backticks."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", FENCED.sub("", text))]


def commands(lines: Iterable[str]) -> list[str]:
    """The arguments of `tsme` in these lines."""
    found = (COMMAND.search(line) for line in lines)
    return [match.group(1) or match.group(2) or "" for match in found if match]


def keys(section: type[BaseModel] = Config, prefix: str = "") -> set[str]:
    """Every dotted key of a configuration, including sections."""
    found: set[str] = set()
    for name, field in section.model_fields.items():
        found.add(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= keys(field.annotation, f"{prefix}{name}.")
    return found


def cases(find: Callable[[str], list[str]]) -> list[Any]:
    """A case for each distinct match in the documents; there must be one."""
    found = sorted({(name, each) for name, text in TEXT.items() for each in find(text)})
    assert found
    return [pytest.param(each, id=f"{name}: {each}") for name, each in found]


def in_prose(kind: re.Pattern[str]) -> list[Any]:
    """A case for each code in backticks that matches as a whole."""
    return cases(lambda text: [code for code in prose(text) if kind.fullmatch(code)])


def headings(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    titles = re.findall(r"^#+ (.*)", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the remaining words."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words:
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("line", cases(lambda text: commands(shell(text))))
def test_commands_to_copy_are_accepted(line: str):
    command, words = resolve(shlex.split(line, comments=True))
    values = command.make_context(command.name, words).params
    if values.get("preset"):
        build_config(values["preset"], values["set_"])


@pytest.mark.parametrize("line", cases(lambda text: commands(prose(text))))
def test_commands_in_prose_have_the_options_named(line: str):
    command, words = resolve(shlex.split(line))
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("setting", cases(lambda text: SETTING.findall(" ".join(prose(text)))))
def test_settings_in_prose_are_accepted(setting: str):
    build_config("regdb", [setting.replace("=N", "=2")])


@pytest.mark.parametrize("key", in_prose(KEY))
def test_keys_in_prose_are_keys(key: str):
    assert key.partition("=")[0] in keys()


@pytest.mark.parametrize("file", in_prose(FILE))
def test_files_in_prose_are_there(file: str):
    assert (ROOT / file).exists()


@pytest.mark.parametrize(
    ("name", "link"), [(name, link) for name, text in TEXT.items() for link in LINK.findall(text)]
)
def test_links_lead_somewhere(name: str, link: str):
    file, _, anchor = link.partition("#")
    target = (ROOT / name).parent / file if file else ROOT / name
    assert target.is_file()
    assert not anchor or anchor in headings(target.read_text())
