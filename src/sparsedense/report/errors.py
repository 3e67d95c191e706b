"""The error of the report: always names the file and what to do."""


class ReportError(ValueError):
    """A run folder cannot be reported: a file is missing or damaged. The message names it and says what to run."""
