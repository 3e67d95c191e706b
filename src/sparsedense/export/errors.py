"""What can be wrong with exporting, and with exported files."""


class ExportError(ValueError):
    """A model cannot be exported, or what was exported is not the same model; nothing was written."""


class ExportFileError(ValueError):
    """An exported file is missing, foreign or damaged, or what runs it is missing; the message says what to do."""
