import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from sparsedense.app.guard import Guard


def _client(host: str) -> TestClient:
    def answer(_request: Request) -> Response:
        return PlainTextResponse("reached")

    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST", "DELETE"])])
    return TestClient(Guard(app, host), base_url="http://127.0.0.1:8321")


@pytest.mark.parametrize("host", ["127.0.0.1:8321", "localhost", "LOCALHOST:9000", "[::1]:8321"])
def test_its_own_names_are_served(host: str) -> None:
    assert _client("127.0.0.1").get("/", headers={"host": host}).text == "reached"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8321", "10.0.0.1", "[::1", "", "a@evil.example"],
)
def test_other_names_are_refused(host: str) -> None:
    answer = _client("127.0.0.1").get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "open it at the address" in answer.json()["error"]


def test_at_another_address_plain_addresses_are_served_and_names_are_not() -> None:
    client = _client("0.0.0.0")
    assert client.get("/", headers={"host": "192.168.1.7:8321"}).status_code == 200
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8321.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_sites_change_nothing(method: str, headers: dict[str, str]) -> None:
    answer = _client("127.0.0.1").request(method, "/", headers=headers)
    assert answer.status_code == 403
    assert answer.json() == {"error": "Requests from other sites are refused."}


@pytest.mark.parametrize("headers", [{}, {"origin": "http://127.0.0.1:8321", "sec-fetch-site": "same-origin"}])
def test_the_page_itself_may(headers: dict[str, str]) -> None:
    assert _client("127.0.0.1").post("/", headers=headers).text == "reached"


def test_every_answer_carries_the_headers_of_safety() -> None:
    for answer in (_client("127.0.0.1").get("/"), _client("127.0.0.1").get("/", headers={"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
