"""Links from a page to the pages of the single runs below it."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class RunLink:
    """A single run: its folder below the page's, and the link to its page where that exists."""

    name: str
    href: str


def run_link(folder: Path, name: str) -> RunLink:
    """Link to the page of a run."""
    return RunLink(name, f"./{quote(name)}/report.html" if (folder / name / "report.html").exists() else "")
