"""The command line."""

from sparsedense.cli.commands import COMMANDS, main

__all__ = ["COMMANDS", "main"]
