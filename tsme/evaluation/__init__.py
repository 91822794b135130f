"""Evaluation: ranking metrics, descriptors, and protocols."""

from tsme.evaluation.ranking import RankingMetrics, evaluate

__all__ = ["RankingMetrics", "evaluate"]
