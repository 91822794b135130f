"""The search for a configuration with Ray Tune."""
