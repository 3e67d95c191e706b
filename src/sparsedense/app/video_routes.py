"""The videos that are watched: uploads in, news of the analysis and its answers out, and the pictures to play."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sparsedense.app.analysis import job_segments
from sparsedense.app.inspection import inspect_file
from sparsedense.app.jobs import DONE, Job, JobQueue
from sparsedense.app.limits import Limits, RefusedError
from sparsedense.app.neighbours import Neighbours
from sparsedense.app.playback import media_type
from sparsedense.app.store_pages import StorePages
from sparsedense.app.uploads import check_headers, display_name, receive_file
from sparsedense.detection.segment_files import write_results_json, write_segments_csv, write_srt, write_vtt
from sparsedense.detection.segments import DetectedSegment

_NEWS_SECONDS = 0.15
_NEAREST = 8
_INSPECTIONS = 2  # at a time

_Write = Callable[[Path, str, Sequence[DetectedSegment]], None]
_WRITERS: Mapping[str, tuple[str, _Write]] = {
    "json": ("application/json", lambda path, name, segments: write_results_json(path, {name: segments})),
    "csv": ("text/csv", lambda path, name, segments: write_segments_csv(path, {name: segments})),
    "vtt": ("text/vtt", lambda path, _name, segments: write_vtt(path, segments)),
    "srt": ("application/x-subrip", lambda path, _name, segments: write_srt(path, segments)),
}


def video_routes(
    jobs: JobQueue, limits: Limits, folder: Path, pages: StorePages | None, neighbours: Neighbours | None
) -> list[Route]:
    """Routes of watched videos.

    Args:
        jobs: the line in which analyses wait.
        limits: what is accepted.
        folder: where uploads go.
        pages: of the store that videos may be picked of, if there is one.
        neighbours: of its videos.
    """
    videos = _Videos(jobs, limits, folder, pages, neighbours)
    return [
        Route("/api/videos", videos.upload, methods=["POST"]),
        Route("/api/store/videos/{video_id:int}/watch", videos.pick, methods=["POST"]),
        Route("/api/videos/{job_id}", videos.everything),
        Route("/api/videos/{job_id}", videos.forget, methods=["DELETE"]),
        Route("/api/videos/{job_id}/events", videos.events),
        Route("/api/videos/{job_id}/media", videos.media),
        Route("/api/videos/{job_id}/nearest", videos.nearest),
        Route("/api/videos/{job_id}/segments/{ending}", videos.segments),
    ]


class _Videos:
    """What is done for a request; the arguments are those of `video_routes`."""

    def __init__(
        self, jobs: JobQueue, limits: Limits, folder: Path, pages: StorePages | None, neighbours: Neighbours | None
    ) -> None:
        self._jobs, self._limits, self._folder = jobs, limits, folder
        self._pages, self._neighbours = pages, neighbours
        self._inspections = asyncio.Semaphore(_INSPECTIONS)

    async def upload(self, request: Request) -> Response:
        """Take a video; its analysis begins when its turn has come."""
        self._jobs.check_room()
        check_headers(request.headers, self._folder, self._limits)
        own = Path(tempfile.mkdtemp(dir=self._folder))
        job = Job(name=display_name(request.query_params.get("name", "")), folder=own, source=own / "upload")
        try:
            await receive_file(request.stream(), job.source, self._limits)
            async with self._inspections:
                job.facts = await run_in_threadpool(inspect_file, job.source, self._limits)
            self._jobs.add(job)
        except ClientDisconnect:
            shutil.rmtree(own, ignore_errors=True)
            return Response(status_code=400)
        except BaseException:  # whatever it is goes on its way, but no upload stays behind
            shutil.rmtree(own, ignore_errors=True)
            raise
        return JSONResponse({"id": job.job_id}, status_code=201)

    def pick(self, request: Request) -> Response:
        """Watch a video of the store."""
        video_id = request.path_params["video_id"]
        rows = [] if self._pages is None else self._pages.rows(np.array([video_id]))
        if not rows or not rows[0]["num_frames"]:
            raise RefusedError(404, "The store has no such video, or no frames of it.")
        self._jobs.check_room()
        own = Path(tempfile.mkdtemp(dir=self._folder))
        job = Job(name=display_name(rows[0]["name"]), folder=own, source=own / "clip.mp4", video_id=video_id)
        self._jobs.add(job)
        return JSONResponse({"id": job.job_id}, status_code=201)

    def everything(self, request: Request) -> Response:
        """What is known of a video now."""
        job = self._job(request)
        return JSONResponse({**_news(self._jobs, job), "answers": dict(job.answers)})

    def events(self, request: Request) -> Response:
        """News of a video until its analysis has ended."""
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(
            _events(self._jobs, self._job(request)), media_type="text/event-stream", headers=headers
        )

    def media(self, request: Request) -> Response:
        """The pictures to play."""
        job = self._job(request)
        if job.playable is None:
            raise RefusedError(404, "It is not ready for playing yet.")
        kind = media_type(job.facts) if job.facts is not None and not job.converted else None
        return FileResponse(job.playable, media_type=kind or "video/mp4")

    def nearest(self, request: Request) -> Response:
        """The videos of the store that are most like it."""
        job = self._job(request)
        if self._neighbours is None or self._pages is None or job.features_D is None:
            return JSONResponse({"done": 0, "total": 0, "nearest": []})
        found = self._neighbours.nearest(job.features_D, k=_NEAREST, except_for=job.video_id)
        rows = {
            row["video_id"]: row for row in self._pages.rows(np.array([each["video_id"] for each in found["nearest"]]))
        }
        return JSONResponse({**found, "nearest": [{**rows[each["video_id"]], **each} for each in found["nearest"]]})

    def segments(self, request: Request) -> Response:
        """Its actions, in a format to keep."""
        job, ending = self._job(request), request.path_params["ending"]
        if job.state != DONE or ending not in _WRITERS:
            known = ", ".join(_WRITERS)
            raise RefusedError(404, f"Segments are there as {known}, once the analysis is done.")
        kind, write = _WRITERS[ending]
        with tempfile.TemporaryDirectory(dir=self._folder) as own:
            path = Path(own) / f"segments.{ending}"
            write(path, job.name, job_segments(job))
            content = path.read_bytes()
        told = {"content-disposition": f'attachment; filename="{path.name}"'}
        return Response(content, media_type=kind, headers=told)

    def forget(self, request: Request) -> Response:
        """Delete a video and what is known of it."""
        self._jobs.remove(self._job(request))
        return Response(status_code=204)

    def _job(self, request: Request) -> Job:
        return self._jobs.find(request.path_params["job_id"])


async def _events(jobs: JobQueue, job: Job) -> AsyncIterator[str]:
    """News of a job whenever there are some, until it has ended; while this runs, somebody watches."""
    job.watch()
    try:
        told = ""
        while True:
            news = json.dumps(_news(jobs, job))
            if news != told:
                yield f"data: {news}\n\n"
                told = news
            if job.has_ended:
                return
            await asyncio.sleep(_NEWS_SECONDS)
    finally:
        job.leave()


def _news(jobs: JobQueue, job: Job) -> dict[str, Any]:
    facts = job.facts
    return {
        "id": job.job_id,
        "name": job.name,
        "video_id": job.video_id,
        "state": job.state,
        "place": jobs.place(job),
        "stage": job.stage,
        "progress": None if job.progress is None else round(job.progress, 3),
        "message": job.message,
        "playable": job.playable is not None,
        "converted": job.converted,
        "facts": None if facts is None else {"codec": facts.codec, "width": facts.width, "height": facts.height},
        "known": [*job.answers, *(["features"] if job.features_D is not None else [])],
    }
