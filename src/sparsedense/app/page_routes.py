"""The page itself, what it should know of the server, and the reports of runs."""

from importlib.resources import files
from pathlib import Path, PurePath

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from sparsedense.app.analysis import WatchingModel
from sparsedense.app.guard import REPORT_POLICY
from sparsedense.app.limits import Limits, RefusedError, duration_text, size_text
from sparsedense.app.run_reports import RunReports
from sparsedense.app.signatures import ACCEPTED_TEXT
from sparsedense.app.store_pages import StorePages

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SAMPLES = 8


def page_routes(
    model: WatchingModel, limits: Limits, pages: StorePages | None, reports: RunReports | None
) -> list[Route]:
    """Routes of the page.

    Args:
        model: what it shows the name and classes of.
        limits: told to the user.
        pages: of the store, if there is one.
        reports: of runs, if there are any.
    """
    # All files of the page are known beforehand, so that no path of a request ever reaches the disk.
    static = {file.name: file.read_bytes() for file in files("sparsedense.app").joinpath("static").iterdir()}

    def file(name: str) -> Response:
        return Response(static[name], media_type=_TYPES[PurePath(name).suffix], headers={"cache-control": "no-cache"})

    def index(_request: Request) -> Response:
        return file("index.html")

    def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in static:
            raise RefusedError(404, "There is no such file.")
        return file(name)

    def about(_request: Request) -> Response:
        return JSONResponse(
            {
                "model": "/".join(Path(model.name).parts[-2:]),
                "classes": list(model.class_names),
                "most_bytes": limits.upload_bytes,
                "accepted": f"{ACCEPTED_TEXT}, up to {size_text(limits.upload_bytes)} and "
                f"{duration_text(limits.duration_seconds)}",
                "store": None if pages is None else pages.summary(),
                "samples": [] if pages is None else pages.sample(_SAMPLES),
                "runs": reports is not None,
            }
        )

    def listed(_request: Request) -> Response:
        return JSONResponse({"runs": [] if reports is None else reports.listed()})

    def report(request: Request) -> Response:
        if reports is None:
            raise RefusedError(404, "No folder of runs was given; start with --runs FOLDER.")
        page = reports.page(request.path_params["path"])
        return FileResponse(page, media_type=_TYPES[".html"], headers={"content-security-policy": REPORT_POLICY})

    return [
        Route("/", index),
        Route("/static/{name}", asset),
        Route("/api/about", about),
        Route("/api/reports", listed),
        Route("/reports/{path:path}", report),
    ]
