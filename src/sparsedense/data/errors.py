"""What can be wrong with a source of videos or with a frame store."""

from __future__ import annotations


class CatalogError(ValueError):
    """A source of videos cannot be read as one; the message names it, the expected layout and what to do."""


class StoreError(ValueError):
    """A frame store is missing, incomplete, damaged, or cannot be written; the message says what to do."""
