"""The `tsme` command."""
