"""Orchestration: where the method, the search, Ray and MLflow meet."""
