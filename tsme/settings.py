"""Changes to a configuration by dotted keys: `--set` on the command line, the sweep, job entrypoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tsme.config import Config
from tsme.errors import UserError


def override(config: Config, values: Mapping[str, Any]) -> Config:
    """`config` with dotted keys replaced, for example {"reid.optimizer.lr": 0.02}.

    Raises UserError naming the key, the value and what is allowed.
    """
    tree = config.model_dump()
    for key, value in values.items():
        *sections, last = key.split(".")
        node = tree
        for depth, section in enumerate(sections):
            if not isinstance(node.get(section), dict):
                raise _unknown_key(key, ".".join(sections[:depth]), node)
            node = node[section]
        if last not in node:
            raise _unknown_key(key, ".".join(sections), node)
        if isinstance(node[last], dict):
            raise UserError(f"--set {key}: a section, not a value; its keys: {', '.join(node[last])}")
        node[last] = value
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise _bad_value(error, values) from None


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """{"a.b": value} from `a.b=value` texts; values are JSON where they parse, else plain text."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (key and equals):
            raise UserError(f"--set {setting}: expected KEY=VALUE, for example reid.optimizer.lr=0.02")
        try:
            values[key] = json.loads(text)
        except json.JSONDecodeError:
            values[key] = text
    return values


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a.b": value} from nested dictionaries."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _unknown_key(key: str, parent: str, node: Mapping[str, Any]) -> UserError:
    place = f"under {parent}" if parent else "at the top"
    return UserError(f"--set {key}: no such key; {place} there are: {', '.join(node)}")


def _bad_value(error: ValidationError, values: Mapping[str, Any]) -> UserError:
    """The first complaint of pydantic, in terms of the key that was set."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    key = next((key for key in values if path == key or path.startswith(key + ".")), None)
    if key is None:  # a check over a whole section: name a key set in it, of its own before others
        key = next((key for key in values if key.rpartition(".")[0] == path), None)
    if key is None:
        key = next((key for key in values if key.startswith(path)), path)
    message = first["msg"].removeprefix("Value error, ")
    return UserError(f"--set {key}={values.get(key, first['input'])}: {message}")
