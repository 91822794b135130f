"""MLflow: its runs and its model registry. No other package imports mlflow."""
