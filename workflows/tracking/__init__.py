"""MLflow: runs, metrics, the model registry. Nothing else imports it."""
