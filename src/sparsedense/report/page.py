"""Write report.html: one self-contained page of a run, of a comparison of two arms, or of a study of several."""

import os
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sparsedense.report.canvas import PALETTE
from sparsedense.report.comparison_page import comparison_context
from sparsedense.report.errors import ReportError
from sparsedense.report.read_comparison import read_comparison
from sparsedense.report.read_run import read_run
from sparsedense.report.read_study import is_study, read_study
from sparsedense.report.run_page import run_context
from sparsedense.report.study_page import study_context


def write_report(run: str | Path) -> Path:
    """Write `report.html` into a run folder; it needs no other file, no script and no network.

    A folder with results.json is reported as what it says it is, a study or a comparison of two arms (its single runs
    lie below it), any other as a single run. The page links to the pages of its runs that exist by then.

    Args:
        run: folder of a run, of a comparison or of a study.

    Returns:
        Path of the page.

    Raises:
        ReportError: the folder is missing, or a file in it is missing or damaged; names the file and what to run.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise ReportError(f"{folder} is not a folder: give the folder of a run, as `sparsedense train` makes one")
    if is_study(folder):
        page = _render("study.html.j2", study_context(read_study(folder)))
    elif (folder / "results.json").exists():
        page = _render("comparison.html.j2", comparison_context(read_comparison(folder)))
    else:
        page = _render("run.html.j2", run_context(read_run(folder)))
    path, draft = folder / "report.html", folder / f".report.html.{os.getpid()}"
    draft.write_text(page, encoding="utf-8")
    draft.replace(path)
    return path


def _render(template: str, context: dict[str, object]) -> str:
    environment = Environment(
        loader=PackageLoader("sparsedense.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    palette = Markup("".join(f"--{name}:{colour};" for name, colour in PALETTE.items()))
    written = datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template(template).render(palette=palette, written=written, **context)
