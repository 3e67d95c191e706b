"""The HTML report of a run: reads what runs wrote and imports no other part of the library."""

from sparsedense.report.errors import ReportError
from sparsedense.report.page import write_report

__all__ = ["ReportError", "write_report"]
