"""The page of `mspt serve` in a real browser: Debian's chromium and its driver."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from conftest import FACES

from mspt.inference.scorer import Scorer

webdriver = pytest.importorskip("selenium.webdriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="no browser: apt-get install chromium chromium-driver",
    ),
]
_PATIENCE_S = 60


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `mspt serve` listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mspt", "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path_factory.mktemp("served")) as server:
        found = f"http://127.0.0.1:{port}"
        wait_for(lambda: is_ready(found))
        yield found
        server.terminate()
        assert server.wait(_PATIENCE_S) in (0, -15)


def is_ready(address: str) -> bool:
    try:
        return urlopen(f"{address}/readyz", timeout=5).status == 200
    except OSError:
        return False


def wait_for(condition) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)


@pytest.fixture
def browser() -> Iterator["webdriver.Chrome"]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=390,844"),
        *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as driver:
        yield driver


def asked_for(browser: "webdriver.Chrome") -> set[str]:
    """Return what the browser asked the network for."""
    import json

    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }


def test_photos_become_cards_best_first_and_nobody_else_is_asked(
    browser: "webdriver.Chrome", address: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    (tmp_path / "notes.txt").write_text("no photo")
    names = ("original", "underexposure-0.6", "gaussian_noise-0.6")
    photos = [FACES / f"{name}.png" for name in names]
    browser.get(f"{address}/")
    files = "\n".join(map(str, [*photos, *tmp_path.iterdir()]))
    browser.find_element("id", "files").send_keys(files)
    status = browser.find_element("id", "status")
    wait_for(lambda: "3 scored, 1 not scored, 1 other files passed over" in status.text)
    cards = [card.text.splitlines() for card in browser.find_elements("css selector", "#cards li")]
    scores = {p.name: Scorer().score(p).score for p in photos}
    best_first = sorted(scores, key=lambda name: -scores[name])
    assert [card[-1] for card in cards] == [*best_first, "broken.jpg"]
    assert [card[-2] for card in cards] == [
        *("kept" if scores[name] >= 0.5 else "not kept" for name in best_first),
        "not kept",
    ]
    assert [card[0] for card in cards[:3]] == [f"{scores[name]:.3f}" for name in best_first]
    assert "too dark" in next(card for card in cards if card[-1].startswith("under"))
    assert "not an image of a known format" in cards[-1][1]
    elsewhere = [u for u in asked_for(browser) if not u.startswith((address, "data:", "blob:"))]
    assert elsewhere == []
    severe = [e for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]
    assert [e for e in severe if "422" not in e["message"]] == [], "but for the broken photo"


def test_the_webcam_is_scored_live_and_says_what_to_improve(
    browser: "webdriver.Chrome", address: str
) -> None:
    browser.get(f"{address}/")
    browser.find_element("id", "webcam").click()
    wait_for(lambda: browser.find_element("id", "live-band").text != "")
    assert 0 <= float(browser.find_element("id", "live-score").text) <= 1
    assert browser.find_element("id", "live-advice").text, "a test picture in green has a cast"
    browser.find_element("id", "snap").click()
    assert len(browser.find_elements("css selector", "#cards li")) == 1
    browser.find_element("id", "stop").click()
    assert not browser.find_element("id", "live").is_displayed()


def test_the_page_fits_a_phone_and_is_named_for_screen_readers(
    browser: "webdriver.Chrome", address: str
) -> None:
    browser.get(f"{address}/")
    width = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(width) == 0, "nothing is wider than the screen"
    for element in browser.find_elements("css selector", "input, button, meter"):
        label = browser.execute_script(
            "const e = arguments[0];"
            "return e.ariaLabel || e.labels?.[0]?.textContent || e.textContent",
            element,
        )
        assert label.strip(), element.get_attribute("id")
