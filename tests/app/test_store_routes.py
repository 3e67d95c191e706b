from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from sparsedense.data.store import FrameStore
from sparsedense.video.decoder import VideoDecoder


def test_a_page_of_the_store(client: TestClient) -> None:
    page = client.get("/api/store/videos", params={"split": "test", "limit": 2}).json()
    assert (page["total"], len(page["videos"])) == (3, 2)


@pytest.mark.parametrize(
    "query", ["offset=-1", "offset=x", "limit=1e9", "limit=99999999999999999999", "split=%00", "label=a/../b"]
)
def test_wrong_pages_are_told(query: str, client: TestClient) -> None:
    answer = client.get(f"/api/store/videos?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_pictures_and_videos_show_the_stored_frames(client: TestClient, app_store: FrameStore, tmp_path: Path) -> None:
    video_id = int(app_store.videos()[2])
    address = f"/api/store/videos/{video_id}"
    poster = client.get(f"{address}/poster.jpg")
    assert (poster.content[:3], poster.headers["content-type"]) == (b"\xff\xd8\xff", "image/jpeg")
    for name in ("clip.mp4", "preview.mp4"):
        (tmp_path / name).write_bytes(client.get(f"{address}/{name}").content)
        with VideoDecoder(tmp_path / name) as decoder:
            frames = np.stack(list(decoder.frames()))
        stored = app_store.read(video_id, np.arange(40)).permute(1, 2, 3, 0).numpy()
        assert frames.shape == stored.shape
        assert np.abs(frames.astype(int) - stored).mean() < 8
    part = client.get(f"{address}/clip.mp4", headers={"range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)


def test_what_has_no_frames_is_told(client: TestClient, app_store: FrameStore) -> None:
    rejected = int(np.flatnonzero(app_store.num_frames == 0)[0])
    assert client.get(f"/api/store/videos/{rejected}/clip.mp4").status_code == 422
    assert client.get("/api/store/videos/12345/poster.jpg").status_code == 404
    assert client.get("/api/store/videos/-1/poster.jpg").status_code == 404
    assert client.get(f"/api/store/videos/{'9' * 40}/poster.jpg").status_code == 404
