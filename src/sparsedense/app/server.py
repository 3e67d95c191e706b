"""The page's server: its parts put together, and run until Ctrl-C."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sparsedense.app.analysis import Analyst, WatchingModel
from sparsedense.app.guard import Guard
from sparsedense.app.jobs import JobQueue
from sparsedense.app.limits import Limits, RefusedError
from sparsedense.app.neighbours import Neighbours, cache_path
from sparsedense.app.page_routes import page_routes
from sparsedense.app.run_reports import RunReports
from sparsedense.app.store_clips import StoreClips
from sparsedense.app.store_pages import StorePages
from sparsedense.app.store_routes import store_routes
from sparsedense.app.video_routes import video_routes
from sparsedense.data.locations import Location
from sparsedense.data.remote_store import open_store
from sparsedense.data.store import FrameStore
from sparsedense.prediction.long_videos import DetectionSettings

LOOPBACK = "127.0.0.1"
_HIGHEST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class AppSettings:
    """What the page shows and where.

    Attributes:
        store: folder of a store to browse and to compare with, or its URL.
        runs: folder below which runs lie.
        host: address to listen at.
        limits: what is accepted.
        detection: how actions are looked for.
        cache: folder that keeps the features of stores; None keeps nothing.
    """

    store: Location | None = None
    runs: Path | None = None
    host: str = LOOPBACK
    limits: Limits = field(default_factory=Limits)
    detection: DetectionSettings = field(default_factory=DetectionSettings)
    cache: Path | None = None


def create_app(model: WatchingModel, settings: AppSettings, folder: Path) -> Starlette:
    """The page as an ASGI application.

    Args:
        model: what to ask; `sparsedense.load_model` gives one.
        settings: what to show.
        folder: an empty folder for uploads and clips; the caller deletes it.

    Raises:
        StoreError: the store is none.
        ValueError: the folder of runs is none.
    """
    store = None if settings.store is None else open_store(settings.store)
    reports = None if settings.runs is None else RunReports(settings.runs)
    clips = pages = neighbours = None
    if store is not None:
        (folder / "clips").mkdir()
        clips, pages = StoreClips(store, folder / "clips"), StorePages(store)
    analyst = Analyst(model, clips, settings.detection)
    jobs = JobQueue(analyst.work, settings.limits)
    if store is not None and clips is not None:
        neighbours = Neighbours(
            model, store, clips, turn=analyst.turn, is_idle=jobs.is_idle, cache=_features_file(model, store, settings)
        )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        jobs.close()
        if neighbours is not None:
            neighbours.close()

    routes = page_routes(model, settings.limits, pages, reports)
    routes += video_routes(jobs, settings.limits, folder, pages, neighbours)
    if pages is not None and clips is not None:
        routes += store_routes(pages, clips)
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, host=settings.host)],
        exception_handlers={RefusedError: _refused, 404: _not_found, 405: _not_found},
        lifespan=lifespan,
    )


def serve(model: WatchingModel, settings: AppSettings, *, port: int) -> None:
    """Show the page until Ctrl-C; uploads are deleted at the end.

    Args:
        model: what to ask.
        settings: what to show.
        port: to listen at; 0 takes a free one.

    Raises:
        OSError: the address cannot be listened at.
        StoreError: the store is none.
        ValueError: the folder of runs is none, or the port is out of range.
    """
    if not 0 <= port <= _HIGHEST_PORT:
        raise ValueError(f"--port {port} must be from 1 to {_HIGHEST_PORT}, or 0 for a free one")
    # A process that is told to end must come by the end of this block, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    temporary = tempfile.TemporaryDirectory(prefix="sparsedense-app-", ignore_cleanup_errors=True)
    with temporary as folder, _listening(settings.host, port) as listening:
        app = create_app(model, settings, Path(folder))
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=2, server_header=False, date_header=False
        )
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"sparsedense app: http://{shown}:{listening.getsockname()[1]}/   (Ctrl-C ends it)", flush=True)
        if settings.host not in (LOOPBACK, "::1", "localhost"):
            print("warning: everybody who reaches this computer can use it; there is no password", flush=True)
        uvicorn.Server(config).run(sockets=[listening])


def cache_folder() -> Path:
    """Where features of stores are kept between runs: `sparsedense/` in the user's folder of caches."""
    told = os.environ.get("XDG_CACHE_HOME")
    return (Path(told) if told else Path.home() / ".cache") / "sparsedense"


def _features_file(model: WatchingModel, store: FrameStore, settings: AppSettings) -> Path | None:
    path = Path(model.name)
    if settings.cache is None or not path.is_file():
        return None
    return cache_path(settings.cache, path, store.path)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # who comes before the server runs waits, and is not turned away
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen at {host}:{port} ({error.strerror}); choose another --port or --host") from error
    return listening


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse({"error": error.message}, status_code=error.status)


async def _not_found(request: Request, error: Exception) -> Response:
    status = int(getattr(error, "status_code", 404))
    told = "There is nothing here." if status == 404 else f"{request.method} is not understood here."
    return JSONResponse({"error": told}, status_code=status)
