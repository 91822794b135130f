"""Evaluation: embeddings, protocols, ranking metrics and re-ranking."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsme.evaluation.metrics import RankingMetrics, evaluate, evaluate_similarity
    from tsme.evaluation.reranking import rerank

__all__ = ["RankingMetrics", "evaluate", "evaluate_similarity", "rerank"]


def __getattr__(name: str) -> Any:
    """Import an exported name on first use: protocols and results do not need torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "reranking" if name == "rerank" else "metrics"
    return getattr(import_module(f"tsme.evaluation.{module}"), name)
