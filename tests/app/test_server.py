import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from sparsedense.app.server import AppSettings, create_app, serve
from sparsedense.data.errors import StoreError
from sparsedense.data.store import FrameStore
from sparsedense.prediction.video_recogniser import VideoRecogniser
from tests.app.conftest import BASE

# As a browser would never send them: dots, their codes, codes of codes, drives, absolute paths, null bytes.
TRAVERSALS: Sequence[str] = [
    "/static/../server.py",
    "/static/..%2fserver.py",
    "/static/%2e%2e/server.py",
    "/static/%2e%2e%2f%2e%2e%2fcli%2fapp.py",
    "/static/%252e%252e%252fserver.py",
    "/static/..%5cserver.py",
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/app.js%00.html",
    "/static/",
    "/reports/../report.html",
    "/reports/%2e%2e/report.html",
    "/reports/..%2freport.html",
    "/reports/first/..%2f..%2freport.html",
    "/reports/%252e%252e%252freport.html",
    "/reports//etc/passwd",
    "/reports/%2fetc%2fpasswd",
    "/reports/first/config.yaml",
    "/reports/first/report.html%00",
    "/reports/linked/report.html",
    "/reports/linked-page/report.html",
    "/api/videos/..%2f..%2fetc%2fpasswd/media",
    "/api/store/videos/..%2f0/poster.jpg",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_nothing_outside_is_read(path: str, client: TestClient) -> None:
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    for secret in ("secret", "root:", "import"):
        assert secret not in answer.text


def test_a_store_at_a_url_is_shown(
    colour_model: VideoRecogniser, app_store: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsedense.data.remote_store.DEFAULT_CACHE", tmp_path / "cache")
    (tmp_path / "work").mkdir()
    app = create_app(colour_model, AppSettings(store=app_store.path.as_uri()), tmp_path / "work")
    with TestClient(app, base_url=BASE) as opened:
        about = opened.get("/api/about").json()["store"]
        assert (about["name"], about["videos"]) == (app_store.path.name, len(app_store.videos()))
        video_id = int(app_store.videos()[0])
        assert opened.get(f"/api/store/videos/{video_id}/poster.jpg").content[:3] == b"\xff\xd8\xff"


@pytest.mark.parametrize(
    ("name", "kind"), [("app.js", "text/javascript"), ("app.css", "text/css"), ("icon.svg", "image/svg+xml")]
)
def test_the_files_of_the_page(name: str, kind: str, client: TestClient) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/").text
    static = Path(__file__).parents[2] / "src" / "sparsedense" / "app" / "static"
    for text in (page, *(path.read_text() for path in static.iterdir())):
        text = text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text  # names of files become text, never markup
    assert "<script>" not in page
    assert "style=" not in page


def test_a_report_is_shown_without_its_scripts(client: TestClient) -> None:
    answer = client.get("/reports/deep/second/report.html")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    assert {run["path"] for run in client.get("/api/reports").json()["runs"]} >= {"first", "deep/second"}


def test_without_store_and_runs_the_rest_works(colour_model: VideoRecogniser, tmp_path: Path) -> None:
    with TestClient(create_app(colour_model, AppSettings(), tmp_path), base_url=BASE) as client:
        about = client.get("/api/about").json()
        assert (about["store"], about["samples"], about["runs"]) == (None, [], False)
        assert client.get("/api/reports").json() == {"runs": []}
        assert client.get("/reports/a/report.html").status_code == 404
        assert client.get("/api/store/videos").status_code == 404
        assert client.post("/api/store/videos/0/watch").status_code == 404
        assert client.put("/api/videos").status_code == 405


def test_an_address_in_use_is_told(colour_model: VideoRecogniser) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="choose another --port"):
            serve(colour_model, AppSettings(), port=taken.getsockname()[1])


@pytest.mark.parametrize("port", [99999, -1])
def test_a_port_that_cannot_be_is_told(colour_model: VideoRecogniser, port: int) -> None:
    with pytest.raises(ValueError, match=f"--port {port} must be from 1 to 65535, or 0 for a free one"):
        serve(colour_model, AppSettings(), port=port)


def test_a_folder_that_is_no_store_is_told(colour_model: VideoRecogniser, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a frame store"):
        create_app(colour_model, AppSettings(store=tmp_path), tmp_path)
