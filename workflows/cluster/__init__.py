"""Ray: the cluster a command runs on, its resources, its failures."""
