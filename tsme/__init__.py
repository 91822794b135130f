"""TSME: two-stage modality enhancement for visible-infrared person re-identification."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsme import presets
    from tsme.evaluation import evaluate
    from tsme.models.checkpoint import load_model

__all__ = ["evaluate", "load_model", "presets"]


def __getattr__(name: str) -> Any:
    """Import an exported name on first use, because importing torch takes seconds."""
    match name:
        case "presets":
            return import_module("tsme.presets")
        case "evaluate":
            return import_module("tsme.evaluation").evaluate
        case "load_model":
            return import_module("tsme.models.checkpoint").load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
