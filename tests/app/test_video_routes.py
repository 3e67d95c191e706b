import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from sparsedense.app.server import AppSettings, create_app
from sparsedense.data.store import FrameStore
from sparsedense.prediction.video_recogniser import VideoRecogniser
from sparsedense.video.probe import probe
from tests.app.conftest import ACTIONS, BASE, DURATION_SECONDS
from tests.app.hostile_files import HOSTILE, SECRET
from tests.evaluation.colour_model import tiny_recogniser
from tests.video.sample_videos import write_encoded, write_truncated


def watched(client: TestClient, video_id: str) -> dict[str, Any]:
    """Follow the news of a video to their end, and give everything that is known of it."""
    with client.stream("GET", f"/api/videos/{video_id}/events") as news:
        told = [json.loads(line.removeprefix("data: ")) for line in news.iter_lines() if line]
    assert told[-1]["state"] in ("done", "failed", "cancelled")
    everything: dict[str, Any] = client.get(f"/api/videos/{video_id}").json()
    return everything


def sent(client: TestClient, content: bytes, name: str = "a.mp4") -> str:
    answer = client.post("/api/videos", params={"name": name}, content=content)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def files_of(folder: Path) -> list[Path]:
    return [path for path in (folder / "work").rglob("*") if path.is_file()]


def test_an_upload_is_analysed_and_its_actions_are_where_they_are(client: TestClient, coloured_video: Path) -> None:
    everything = watched(client, sent(client, coloured_video.read_bytes(), "../my <b>video</b>.mp4"))
    assert everything["state"] == "done"
    assert everything["name"] == "b>.mp4"
    assert everything["known"] == ["classes", "actions", "features"]
    assert not everything["converted"]
    assert {each["label"] for each in everything["answers"]["classes"]} == {"diagonal", "down", "right"}
    actions = everything["answers"]["actions"]
    assert actions["duration_seconds"] == pytest.approx(DURATION_SECONDS, abs=0.1)
    for label, _, start, end in ACTIONS:
        best = max((each for each in actions["segments"] if each["label"] == label), key=lambda each: each["score"])
        np.testing.assert_allclose([best["start_seconds"], best["end_seconds"]], [start, end], atol=0.5)
    curves = {each["label"]: each["scores"] for each in actions["curves"]["series"]}
    edges = np.array(actions["curves"]["edges_seconds"])
    at_two = np.searchsorted(edges, 2.0) - 1
    assert curves["diagonal"][at_two] > 0.9 > 0.1 > curves["right"][at_two]


def test_background_is_no_action_to_name(tmp_path: Path, coloured_video: Path) -> None:
    recogniser = tiny_recogniser(("diagonal", "background", "right"))
    model = VideoRecogniser(recogniser, short_side=24, training_stride_frames=2.0).eval()
    (tmp_path / "work").mkdir()
    with TestClient(create_app(model, AppSettings(), tmp_path / "work"), base_url=BASE) as opened:
        classes = watched(opened, sent(opened, coloured_video.read_bytes()))["answers"]["classes"]
    assert {each["label"] for each in classes} == {"diagonal", "right"}
    assert sum(each["probability"] for each in classes) < 0.99, "what is left for background is not given to others"


def test_the_video_is_played_in_parts(client: TestClient, coloured_video: Path) -> None:
    content = coloured_video.read_bytes()
    video_id = sent(client, content)
    watched(client, video_id)
    whole = client.get(f"/api/videos/{video_id}/media")
    assert (whole.content, whole.headers["content-type"]) == (content, "video/mp4")
    part = client.get(f"/api/videos/{video_id}/media", headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert client.get(f"/api/videos/{video_id}/media", headers={"range": f"bytes={len(content)}-"}).status_code == 416


def test_the_segments_are_written_in_four_formats(client: TestClient, coloured_video: Path) -> None:
    video_id = sent(client, coloured_video.read_bytes(), "=cmd.mp4")
    watched(client, video_id)
    answers = {name: client.get(f"/api/videos/{video_id}/segments/{name}") for name in ("json", "csv", "vtt", "srt")}
    assert all(answer.headers["content-disposition"].startswith("attachment") for answer in answers.values())
    assert list(json.loads(answers["json"].text)["results"]) == ["=cmd.mp4"]
    assert answers["csv"].text.startswith("video,start_seconds")
    assert answers["vtt"].text.startswith("WEBVTT")
    assert "-->" in answers["srt"].text
    assert client.get(f"/api/videos/{video_id}/segments/exe").status_code == 404


@pytest.mark.parametrize(
    ("make", "name", "status", "message"), [each[1:] for each in HOSTILE], ids=[e[0] for e in HOSTILE]
)
def test_hostile_uploads_are_refused_with_a_reason(
    make: Any, name: str, status: int, message: str, client: TestClient, tmp_path: Path
) -> None:
    answer = client.post("/api/videos", params={"name": name}, content=make(tmp_path))
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]
    assert str(tmp_path) not in answer.text
    assert SECRET not in answer.text
    assert not files_of(tmp_path)
    assert client.get("/api/about").status_code == 200


def test_there_are_at_least_twenty_hostile_uploads() -> None:
    assert len(HOSTILE) >= 20


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "a\x00.mp4", "<img src=x onerror=alert(1)>.mp4", "x" * 5000, "..", "C:\\a"],
)
def test_a_name_never_leaves_the_folder_of_uploads(
    name: str, client: TestClient, coloured_video: Path, tmp_path: Path
) -> None:
    before = {path for path in tmp_path.rglob("*") if "work" not in path.parts}
    video_id = sent(client, coloured_video.read_bytes(), name)
    assert len(client.get(f"/api/videos/{video_id}").json()["name"]) <= 120
    assert {path.name for path in files_of(tmp_path)} == {"upload"}
    assert {path for path in tmp_path.rglob("*") if "work" not in path.parts} == before
    assert client.delete(f"/api/videos/{video_id}").status_code == 204


def test_what_browsers_cannot_play_is_converted(client: TestClient, tmp_path: Path) -> None:
    video = write_encoded(tmp_path / "old.avi", 40, codec="mpeg4")
    video_id = sent(client, video.read_bytes(), "old.avi")
    everything = watched(client, video_id)
    assert (everything["state"], everything["converted"]) == ("done", True)
    (tmp_path / "played.mp4").write_bytes(client.get(f"/api/videos/{video_id}/media").content)
    assert probe(tmp_path / "played.mp4").codec == "h264"


def test_a_damaged_video_is_analysed_up_to_the_damage(client: TestClient, tmp_path: Path) -> None:
    video = write_truncated(tmp_path / "cut.mp4", 40, keep=0.7)
    everything = watched(client, sent(client, video.read_bytes()))
    assert everything["state"] == "done"
    assert "damaged after frame" in everything["answers"]["actions"]["damage"]


def test_a_video_of_the_store_is_watched_and_its_neighbours_are_of_its_colour(
    client: TestClient, app_store: FrameStore
) -> None:
    video_id = int(app_store.videos(labelled=True)[0])
    answer = client.post(f"/api/store/videos/{video_id}/watch")
    everything = watched(client, answer.json()["id"])
    assert everything["state"] == "done"
    assert client.get(f"/api/videos/{everything['id']}/media").content[4:8] == b"ftyp"
    deadline = time.monotonic() + 20
    while (found := client.get(f"/api/videos/{everything['id']}/nearest").json())["done"] < found["total"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found["total"] == len(app_store.videos())
    assert len(found["nearest"]) == found["total"] - 1  # not itself
    assert found["nearest"][0]["label"] == app_store.class_names[app_store.label_id(video_id)]
    assert found["nearest"][0]["similarity"] > 0.95
    assert client.post("/api/store/videos/999/watch").status_code == 404
    rejected = int(np.flatnonzero(app_store.num_frames == 0)[0])
    assert client.post(f"/api/store/videos/{rejected}/watch").status_code == 404


@pytest.mark.parametrize("part", ["", "/events", "/media", "/nearest", "/segments/json"])
def test_an_unknown_video_is_told(part: str, client: TestClient) -> None:
    answer = client.get(f"/api/videos/not-there{part}")
    assert (answer.status_code, answer.json()["error"]) == (404, "This video is not here any more. Give it again.")


def test_uploads_from_other_sites_are_refused(client: TestClient, coloured_video: Path, tmp_path: Path) -> None:
    content = coloured_video.read_bytes()
    answer = client.post("/api/videos", content=content, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403
    assert not files_of(tmp_path)


def test_an_upload_whose_length_is_not_told_is_limited_too(client: TestClient, tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        yield b"\x1a\x45\xdf\xa3"
        for _ in range(30):
            yield bytes(100_000)

    answer = client.post("/api/videos", content=endless())
    assert answer.status_code == 413
    assert not files_of(tmp_path)


def test_two_uploads_at_once_are_analysed_one_after_the_other(client: TestClient, coloured_video: Path) -> None:
    content = coloured_video.read_bytes()
    done: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: done.append(watched(client, sent(client, content)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert [each["state"] for each in done] == ["done", "done"]
    assert done[0]["answers"]["actions"] == done[1]["answers"]["actions"]
