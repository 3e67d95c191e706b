"""The page in a real browser: a video goes in, the right action is at the right time, a click leads there."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sparsedense.app.server import AppSettings, create_app
from sparsedense.prediction.video_recogniser import VideoRecogniser
from tests.app.conftest import ACTIONS

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_MILLISECONDS = 30_000

pytestmark = pytest.mark.skipif(not any(map(which, _BROWSERS)), reason="there is no chromium on the PATH")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = next(found for found in map(which, _BROWSERS) if found)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which nothing goes wrong unseen."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(_PATIENCE_MILLISECONDS)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda told: faults.append(told.text) if "Content Security Policy" in told.text else None)
    yield opened
    context.close()
    assert not faults


@pytest.fixture
def address(colour_model: VideoRecogniser, settings: AppSettings, tmp_path: Path) -> Iterator[str]:
    """A real server with everything."""
    (tmp_path / "work").mkdir()
    config = uvicorn.Config(
        create_app(colour_model, settings, tmp_path / "work"), log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join(timeout=10)


def player_seconds(page: Page) -> float:
    return float(page.evaluate("document.getElementById('video').currentTime"))


def until_player_is_at(page: Page, seconds: float, within_seconds: float = 0.15) -> None:
    deadline = time.monotonic() + 10
    while abs(player_seconds(page) - seconds) > within_seconds:
        assert time.monotonic() < deadline, f"the player is at {player_seconds(page)} s, not at {seconds} s"
        page.wait_for_timeout(30)


def test_a_video_is_watched(page: Page, address: str, coloured_video: Path) -> None:
    page.goto(address)
    page.set_input_files("#file", coloured_video)
    expect(page.locator("#name")).to_have_text("coloured.mp4")
    pieces = page.locator(".piece")
    expect(pieces.first).to_be_visible(timeout=_PATIENCE_MILLISECONDS)
    expect(page.locator(".bars li")).to_have_count(3)

    # Each action is found where it is, in the list and on the timeline.
    box = page.locator(".scrub").bounding_box()
    assert box is not None
    for label, _, start, end in ACTIONS:
        listed = page.locator("#segments button", has_text=label).first
        expect(listed).to_be_visible()
        bar = page.locator(f".piece[aria-label^='{label},']").first.bounding_box()
        assert bar is not None
        assert (bar["x"] - box["x"]) / box["width"] * 8 == pytest.approx(start, abs=0.5)
        assert (bar["x"] + bar["width"] - box["x"]) / box["width"] * 8 == pytest.approx(end, abs=0.5)

    # A click on an action leads there, and the page says what is seen.
    page.locator(".piece[aria-label^='right,']").first.click()
    page.wait_for_function("document.getElementById('video').currentTime >= 4.5")
    expect(page.locator("#caption")).to_contain_text("right")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    page.keyboard.press(" ")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")

    # Keys move the player; a click between the actions does too.
    page.keyboard.press("Home")
    until_player_is_at(page, 0)
    page.keyboard.press("ArrowRight")
    until_player_is_at(page, 1)
    page.keyboard.press("n")
    until_player_is_at(page, 5, within_seconds=0.5)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 4)
    until_player_is_at(page, 4)
    expect(page.locator("#near-cards li").first).to_be_visible()


def test_a_file_that_is_no_video_is_told_and_one_can_go_on(page: Page, address: str, coloured_video: Path) -> None:
    page.goto(address)
    markup = "<img src=x onerror=document.title='stolen'>.mp4"
    page.set_input_files("#file", {"name": markup, "mimeType": "video/mp4", "buffer": b"hello" * 100})
    expect(page.locator("#problem")).to_contain_text("it looks like text")
    expect(page.locator("#name")).to_have_text(markup)
    assert page.title() != "stolen"
    page.keyboard.press("Enter")  # the way on has the focus
    expect(page.locator("#drop")).to_be_visible()


def test_the_store_and_the_reports_are_browsed_by_keyboard(page: Page, address: str) -> None:
    page.goto(f"{address}#/store")
    expect(page.locator("#store-cards > li")).to_have_count(8)
    page.select_option("select[name=kind]", "rejected")
    expect(page.locator("#store-cards > li")).to_have_count(1)
    expect(page.locator("#store-cards .why")).not_to_be_empty()
    page.goto(f"{address}#/store?label=down")
    expect(page.locator("#store-cards > li")).to_have_count(2)
    page.locator("#store-cards button").first.focus()
    expect(page.locator("#store-cards video")).to_have_count(1)  # it plays while it has the focus
    page.keyboard.press("Enter")
    expect(page.locator("#name")).to_have_text("down_1.mp4")
    expect(page.locator("#timeline")).to_be_visible(timeout=_PATIENCE_MILLISECONDS)
    page.goto(f"{address}#/reports")
    page.get_by_role("checkbox", name="first").check()
    page.get_by_role("checkbox", name="deep/second").check()
    expect(page.locator("iframe")).to_have_count(2)
    expect(page.frame_locator("iframe >> nth=0").locator("h1")).to_have_text("first")


def test_it_fits_a_phone_and_a_dark_room(browser: Browser, address: str, coloured_video: Path) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark", has_touch=True)
    page = context.new_page()
    page.goto(address)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 23)"
    page.set_input_files("#file", coloured_video)
    expect(page.locator(".piece").first).to_be_visible(timeout=_PATIENCE_MILLISECONDS)
    for place in ("", "#/store", "#/reports"):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.goto(f"{address}{place}")
        page.wait_for_load_state("networkidle")
    context.close()
