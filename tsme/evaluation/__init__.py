"""Evaluation: ranking metrics, descriptors, and protocols."""

from tsme.evaluation.metrics import RankingMetrics, evaluate, evaluate_similarity
from tsme.evaluation.reranking import rerank

__all__ = ["RankingMetrics", "evaluate", "evaluate_similarity", "rerank"]
