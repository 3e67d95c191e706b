"""Looking through a store: pages of its videos, pictures and small videos of them."""

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from sparsedense.app.limits import RefusedError
from sparsedense.app.store_clips import StoreClips
from sparsedense.app.store_pages import Filter, StorePages

_PAGE = 24
_KEEP = {"cache-control": "private, max-age=600"}


def store_routes(pages: StorePages, clips: StoreClips) -> list[Route]:
    """Routes of a store.

    Args:
        pages: its list of videos.
        clips: pictures and videos of them.
    """

    def listed(request: Request) -> Response:
        query = request.query_params
        chosen = Filter(
            label=query.get("label"), split=query.get("split"), kind=query.get("kind"), reason=query.get("reason")
        )
        offset, limit = _number(query, "offset", 0), _number(query, "limit", _PAGE)
        return JSONResponse(pages.page(chosen, offset=offset, limit=limit))

    def poster(request: Request) -> Response:
        return Response(clips.poster(request.path_params["video_id"]), media_type="image/jpeg", headers=_KEEP)

    def clip(request: Request) -> Response:
        return FileResponse(clips.clip(request.path_params["video_id"]), media_type="video/mp4", headers=_KEEP)

    def preview(request: Request) -> Response:
        return FileResponse(clips.preview(request.path_params["video_id"]), media_type="video/mp4", headers=_KEEP)

    return [
        Route("/api/store/videos", listed),
        Route("/api/store/videos/{video_id:int}/poster.jpg", poster),
        Route("/api/store/videos/{video_id:int}/clip.mp4", clip),
        Route("/api/store/videos/{video_id:int}/preview.mp4", preview),
    ]


def _number(query: QueryParams, name: str, default: int) -> int:
    told = query.get(name)
    if told is None:
        return default
    if not (told.isascii() and told.isdecimal() and len(told) < 12):
        raise RefusedError(400, f"{name} ({told[:20]!r}) must be a whole number.")
    return int(told)
