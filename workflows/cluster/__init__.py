"""The Ray cluster a command runs on: session, resources, network, storage, failures."""
