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
    inspections = asyncio.Semaphore(_INSPECTIONS)

    async def upload(request: Request) -> Response:
        jobs.check_room()
        check_headers(request.headers, folder, limits)
        own = Path(tempfile.mkdtemp(dir=folder))
        job = Job(name=display_name(request.query_params.get("name", "")), folder=own, source=own / "upload")
        try:
            await receive_file(request.stream(), job.source, limits)
            async with inspections:
                job.facts = await run_in_threadpool(inspect_file, job.source, limits)
            jobs.add(job)
        except ClientDisconnect:
            shutil.rmtree(own, ignore_errors=True)
            return Response(status_code=400)
        except BaseException:
            shutil.rmtree(own, ignore_errors=True)
            raise
        return JSONResponse({"id": job.job_id}, status_code=201)

    def pick(request: Request) -> Response:
        video_id = request.path_params["video_id"]
        rows = [] if pages is None else pages.rows(np.array([video_id]))
        if not rows or not rows[0]["num_frames"]:
            raise RefusedError(404, "The store has no such video, or no frames of it.")
        jobs.check_room()
        own = Path(tempfile.mkdtemp(dir=folder))
        job = Job(name=display_name(rows[0]["name"]), folder=own, source=own / "clip.mp4", video_id=video_id)
        jobs.add(job)
        return JSONResponse({"id": job.job_id}, status_code=201)

    def everything(request: Request) -> Response:
        job = _job(request)
        return JSONResponse({**_news(jobs, job), "answers": dict(job.answers)})

    def events(request: Request) -> Response:
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(_events(jobs, _job(request)), media_type="text/event-stream", headers=headers)

    def media(request: Request) -> Response:
        job = _job(request)
        if job.playable is None:
            raise RefusedError(404, "It is not ready for playing yet.")
        kind = media_type(job.facts) if job.facts is not None and not job.converted else None
        return FileResponse(job.playable, media_type=kind or "video/mp4")

    def nearest(request: Request) -> Response:
        job = _job(request)
        if neighbours is None or pages is None or job.features_D is None:
            return JSONResponse({"done": 0, "total": 0, "nearest": []})
        found = neighbours.nearest(job.features_D, k=_NEAREST, except_for=job.video_id)
        rows = {row["video_id"]: row for row in pages.rows(np.array([each["video_id"] for each in found["nearest"]]))}
        return JSONResponse({**found, "nearest": [{**rows[each["video_id"]], **each} for each in found["nearest"]]})

    def segments(request: Request) -> Response:
        job, ending = _job(request), request.path_params["ending"]
        if job.state != DONE or ending not in _WRITERS:
            known = ", ".join(_WRITERS)
            raise RefusedError(404, f"Segments are there as {known}, once the analysis is done.")
        kind, write = _WRITERS[ending]
        with tempfile.TemporaryDirectory(dir=folder) as own:
            path = Path(own) / f"segments.{ending}"
            write(path, job.name, job_segments(job))
            content = path.read_bytes()
        told = {"content-disposition": f'attachment; filename="{path.name}"'}
        return Response(content, media_type=kind, headers=told)

    def forget(request: Request) -> Response:
        jobs.remove(_job(request))
        return Response(status_code=204)

    def _job(request: Request) -> Job:
        return jobs.find(request.path_params["job_id"])

    return [
        Route("/api/videos", upload, methods=["POST"]),
        Route("/api/store/videos/{video_id:int}/watch", pick, methods=["POST"]),
        Route("/api/videos/{job_id}", everything),
        Route("/api/videos/{job_id}", forget, methods=["DELETE"]),
        Route("/api/videos/{job_id}/events", events),
        Route("/api/videos/{job_id}/media", media),
        Route("/api/videos/{job_id}/nearest", nearest),
        Route("/api/videos/{job_id}/segments/{ending}", segments),
    ]


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
