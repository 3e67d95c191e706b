"""What several commands print or write at their end."""

import json
from pathlib import Path


def report_where_possible(folder: Path) -> None:
    """Write the report page of a run's folder, if it is one."""
    if (folder / "metrics.jsonl").is_file():
        from sparsedense.report.page import write_report

        print(f"report: {write_report(folder)}")


def print_json(content: object) -> None:
    """Print one JSON document on one line."""
    print(json.dumps(content))
