"""Evaluation: embeddings, protocols, ranking metrics and re-ranking."""

from tsme.evaluation.metrics import RankingMetrics, evaluate, evaluate_similarity
from tsme.evaluation.reranking import rerank

__all__ = ["RankingMetrics", "evaluate", "evaluate_similarity", "rerank"]
