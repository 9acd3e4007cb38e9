"""The page of `mspt serve` in a real browser: Debian's chromium and its driver."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from conftest import DETECTOR, FACES, ORIGINAL, ROOT, draw_group
from PIL import Image, ImageCms, ImageOps

from mspt.inference.scorer import Scorer
from mspt.results import FACTOR_COLUMNS, type_of_column
from mspt.serve.device import PAGE, is_built

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
    with serving(tmp_path_factory.mktemp("served")) as found:
        yield found


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mspt", "serve", "--port", str(port)]
    command += ["--detector", str(DETECTOR)] if DETECTOR else []
    with subprocess.Popen(command, cwd=folder, env=os.environ | variables) as server:
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
    with opened() as driver:
        yield driver


@contextmanager
def opened(*more: str) -> Iterator["webdriver.Chrome"]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=390,844"),
        *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
        *more,
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


def complaints(browser: "webdriver.Chrome") -> list[str]:
    """Return errors and warnings of the console, but Chromium's that there is no WebGPU."""
    entries = [e for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]
    return [e["message"] for e in entries if "No available adapters" not in e["message"]]


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
    assert [m for m in complaints(browser) if "422" not in m] == [], "but for the broken photo"


def test_photos_wait_for_the_token_and_none_is_lost(
    browser: "webdriver.Chrome", tmp_path: Path
) -> None:
    photos = sorted(FACES.iterdir())[:6]
    with serving(tmp_path, MSPT_TOKEN="open sesame") as address:
        browser.get(f"{address}/")
        browser.find_element("id", "files").send_keys("\n".join(map(str, photos)))
        status = browser.find_element("id", "status")
        for token in ("wrong", "open sesame"):
            wait_for(lambda: "6 photos wait" in status.text)
            field = browser.find_element("id", "token")
            assert field == browser.switch_to.active_element
            assert field.get_attribute("value") == ""
            assert not browser.find_elements("css selector", "#cards li")
            field.send_keys(f"{token}\n")
        wait_for(lambda: "6 scored; " in status.text)


def test_a_double_click_takes_one_camera(browser: "webdriver.Chrome", address: str) -> None:
    browser.get(f"{address}/")
    browser.execute_script("""
        const take = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        window.taken = [];
        navigator.mediaDevices.getUserMedia = async (wanted) => {
          window.taken.push(await take(wanted));
          return window.taken.at(-1);
        };
        document.getElementById("webcam").click();
        document.getElementById("webcam").click();""")
    wait_for(lambda: browser.find_element("id", "live-band").text != "")
    browser.find_element("id", "stop").click()
    ended = "return window.taken.flatMap((s) => s.getTracks()).map((track) => track.readyState)"
    assert browser.execute_script(ended) == ["ended"]


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


AXE = ROOT / "web/node_modules/axe-core/axe.min.js"


@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: make web")
def test_no_serious_fault_for_people_who_cannot_see_or_point(
    browser: "webdriver.Chrome", address: str
) -> None:
    browser.get(f"{address}/")
    browser.find_element("id", "files").send_keys("\n".join(map(str, sorted(FACES.iterdir())[:3])))
    wait_for(lambda: "3 scored" in browser.find_element("id", "status").text)
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script("axe.run().then(arguments[0])")
    assert found["passes"], "it did look"
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in serious] == []


# ---- in the browser itself ----

needs_device = pytest.mark.skipif(not is_built(), reason="not built: make web")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page lies as plain files."""
    folder = tmp_path_factory.mktemp("static") / "site"
    command = [sys.executable, "-m", "mspt", "serve", "--site", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    from benchmarks.speed import browser  # needs selenium

    with browser.serving(folder) as address:
        yield address


def as_file(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def with_orientation(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return as_file(image, "JPEG", quality=92, exif=exif)


def make_photos(folder: Path) -> list[Path]:
    """Write thirty photos: sizes, shapes, forms, orientations, profiles, transparency."""
    with Image.open(ORIGINAL) as opened:
        face = opened.convert("RGB")
    made: dict[str, bytes] = {}
    for side in (64, 97, 200, 319, 640, 641, 900, 1500, 2400):
        made[f"side-{side}.jpg"] = as_file(face.resize((side, side)), "JPEG", quality=93)
    for quality in (15, 40, 70):
        made[f"q-{quality}.jpg"] = as_file(face, "JPEG", quality=quality)
        made[f"q-{quality}.webp"] = as_file(face, "WEBP", quality=quality)
    wide = ImageOps.expand(face, (200, 30, 90, 0), "gray")
    for orientation in range(1, 9):
        made[f"exif-{orientation}.jpg"] = with_orientation(wide, orientation)
    made["gray.jpg"] = as_file(face.convert("L"), "JPEG", quality=90)
    made["gray.png"] = as_file(face.convert("L"), "PNG")
    made["palette.gif"] = as_file(face.convert("P"), "GIF")
    made["plain.bmp"] = as_file(face, "BMP")
    hole = face.convert("RGBA")
    hole.putalpha(face.convert("L").point(lambda value: min(255, 2 * value)))
    made["see-through.png"] = as_file(hole, "PNG")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made["profile.jpg"] = as_file(face, "JPEG", quality=92, icc_profile=srgb)
    made["tall.png"] = as_file(wide.rotate(90, expand=True), "PNG")
    folder.mkdir()
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return sorted(folder.iterdir())


def scores_on_cards(browser: "webdriver.Chrome", but: str = "") -> dict[str, float]:
    """Return what the cards say, by the name of the photo, without one of them."""
    texts = [card.text.splitlines() for card in browser.find_elements("css selector", "#cards li")]
    return {lines[-1]: float(lines[0]) for lines in texts if lines[-1] != but}


@needs_device
@pytest.mark.parametrize("model", ["base", "fast"])
def test_the_browser_scores_as_python_does_and_sends_nothing(
    browser: "webdriver.Chrome", site: str, tmp_path: Path, model: str
) -> None:
    photos = [*sorted(FACES.iterdir()), *make_photos(tmp_path / "made")]
    assert len(photos) >= 41
    browser.get(f"{site}/")
    assert "none leaves this device" in browser.find_element("id", "where-here").text
    choose(browser, "model", model)
    asked_for(browser)  # what came before is read and done with
    browser.find_element("id", "files").send_keys("\n".join(map(str, photos)))
    status = browser.find_element("id", "status")
    wait_for(lambda: f"{len(photos)} scored" in status.text)
    scorer = Scorer(model, backend="onnxruntime")
    found = scores_on_cards(browser)
    apart = {p.name: abs(found[p.name] - scorer.score(p).score) for p in photos}
    assert {name: far for name, far in apart.items() if far > 0.01} == {}
    asked = {url for url in asked_for(browser) if not url.startswith(("data:", "blob:"))}
    assert asked, "the model at least"
    assert all(url.startswith(f"{site}/device/") for url in asked)
    assert complaints(browser) == []


@needs_device
def test_another_model_takes_over_what_was_on_its_way(
    browser: "webdriver.Chrome", site: str
) -> None:
    photos = sorted(FACES.iterdir())
    browser.get(f"{site}/")
    choose(browser, "model", "base")
    browser.find_element("id", "files").send_keys("\n".join(map(str, photos)))
    wait_for(lambda: browser.find_elements("css selector", "#cards li"))
    choose(browser, "model", "fast")
    status = browser.find_element("id", "status")
    wait_for(lambda: f"{len(photos)} scored; " in status.text)
    text = browser.find_element("id", "cards").text
    assert {name for name in ("base", "fast") if f"({name}@" in text} == {"base", "fast"}


_ON_A_GPU = """
const { Device } = await import("./device/device.js");
if (!(await navigator.gpu?.requestAdapter())) return null;
const [file] = document.getElementById("own").files;
const found = [];
for (const runtime of ["webgpu", null]) {
  const models = new URL("device/models.json", document.baseURI).href;
  const device = await Device.open(models, "fast", runtime);
  const [row] = await device.score(file, false);
  found.push([device.runtime, row.score]);
  device.close();
}
return found;
"""


@needs_device
def test_a_graphics_processor_gives_the_same_score_but_not_one_that_is_played(site: str) -> None:
    """Chromium plays one (SwiftShader): right, but a hundred times slower than WebAssembly."""
    with opened("--enable-unsafe-webgpu") as browser:
        browser.set_script_timeout(10 * _PATIENCE_S)
        browser.get(f"{site}/")
        browser.execute_script(_OWN_FILES)
        browser.find_element("id", "own").send_keys(str(ORIGINAL))
        found = browser.execute_script(f"return (async () => {{{_ON_A_GPU}}})();")
        assert complaints(browser) == []
    if found is None:
        pytest.skip("this Chromium has no WebGPU")
    assert [runtime for runtime, _ in found] == ["webgpu", "wasm"]
    score = Scorer("fast", backend="onnxruntime").score(ORIGINAL).score
    assert [value for _, value in found] == pytest.approx([score, score], abs=0.01)


@needs_device
def test_every_web_server_knows_the_kinds_of_the_files() -> None:
    """nginx, as it comes, serves .mjs as bytes, which no browser takes for a module."""
    assert {p.suffix for p in PAGE.rglob("*") if p.is_file()} <= {".html", ".css", ".js", ".wasm"}


_DEVICE_ROWS = """
const { Device } = await import("./device/device.js");
const device = await Device.open(new URL("device/models.json", document.baseURI).href, "base");
const rows = [];
for (const file of document.getElementById("own").files)
  rows.push((await device.score(file, false))[0]);
return rows.map((row) => ({ ...row, crop: "" }));
"""
_OWN_FILES = """
const input = document.createElement("input");
document.body.append(Object.assign(input, { type: "file", id: "own", multiple: true }));
"""


@needs_device
def test_the_browser_says_why_as_python_does(
    browser: "webdriver.Chrome", site: str, tmp_path: Path
) -> None:
    photos = [*sorted(FACES.iterdir()), *make_photos(tmp_path / "made")]
    browser.get(f"{site}/")
    browser.set_script_timeout(4 * _PATIENCE_S)
    browser.execute_script(_OWN_FILES)
    browser.find_element("id", "own").send_keys("\n".join(map(str, photos)))
    found = browser.execute_script(f"return (async () => {{{_DEVICE_ROWS}}})()")
    expected = [r.to_dict() for r in Scorer(backend="onnxruntime", factors=True).score_many(photos)]
    pairs = list(zip(found, expected, strict=True))
    for name in (c for c in FACTOR_COLUMNS if type_of_column(c) != "str"):
        apart = [abs(here[name] - there[name]) / (0.02 + there[name]) for here, there in pairs]
        assert max(apart) < 0.2, (name, apart)
        assert np.median(apart) < 0.01, (name, apart)
    assert sum(here["reasons"] != there["reasons"] for here, there in pairs) <= 1
    assert {b["reason_codes"] for b in expected} > {"", "dark", "small"}


def choose(browser: "webdriver.Chrome", name: str, value: str) -> None:
    script = "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
    script += "e.dispatchEvent(new Event('change'))"
    wait_for(lambda: value in browser.find_element("id", name).text)
    browser.execute_script(script, name, value)


@needs_device
def test_on_a_server_the_page_scores_in_the_browser_if_told_to(
    browser: "webdriver.Chrome", address: str, tmp_path: Path
) -> None:
    browser.get(f"{address}/")
    wait_for(lambda: browser.find_element("id", "here").is_displayed())
    assert browser.find_element("id", "where-server").is_displayed()
    browser.find_element("id", "here").click()
    assert browser.find_element("id", "where-here").is_displayed()
    assert browser.execute_script("return crossOriginIsolated"), "several threads may compute"
    for name, data in {"broken.jpg": b"no photo", "empty.png": b""}.items():
        (tmp_path / name).write_bytes(data)
    with Image.open(ORIGINAL) as face:
        face.resize((20, 20)).save(tmp_path / "tiny.png")
    photos = [ORIGINAL, *sorted(tmp_path.iterdir())]
    browser.find_element("id", "files").send_keys("\n".join(map(str, photos)))
    status = browser.find_element("id", "status")
    wait_for(lambda: "1 scored, 3 not scored" in status.text)
    cards = [card.text.splitlines() for card in browser.find_elements("css selector", "#cards li")]
    told = {card[-1]: card[1] for card in cards}
    assert told["broken.jpg"] == "not an image that this browser can decode"
    assert told["empty.png"] == "the file is empty"
    assert told["tiny.png"].startswith("20 x 20 px: the short side is below the")
    assert not any("/v1/score" in url for url in asked_for(browser))


@needs_device
@pytest.mark.skipif(DETECTOR is None, reason="no YuNet file: mspt detector fetch")
def test_faces_are_found_in_the_browser_as_python_finds_them(
    browser: "webdriver.Chrome", address: str, tmp_path: Path
) -> None:
    draw_group().save(tmp_path / "group.png")
    draw_group().resize((3500, 1750)).save(tmp_path / "large.jpg", quality=95)
    Image.new("RGB", (300, 200)).save(tmp_path / "nobody.png")
    photos = sorted(tmp_path.iterdir())
    browser.get(f"{address}/")
    wait_for(lambda: browser.find_element("id", "here").is_displayed())
    browser.find_element("id", "here").click()
    browser.find_element("id", "detect").click()
    browser.find_element("id", "files").send_keys("\n".join(map(str, photos)))
    status = browser.find_element("id", "status")
    wait_for(lambda: "8 scored, 1 not scored" in status.text)
    found = scores_on_cards(browser, but="nobody.png")
    scorer = Scorer("base", backend="onnxruntime", detector=DETECTOR)
    expected = {
        f"{photo.name}, face {row.face + 1} of 4": row.score
        for photo in photos[:2]
        for row in scorer.score_faces(photo)
    }
    assert found.keys() == expected.keys()
    apart = {name: abs(found[name] - score) for name, score in expected.items()}
    assert max(apart.values()) < 0.03, apart
    assert np.mean(list(apart.values())) < 0.012, apart
    assert not any("/v1/score" in url for url in asked_for(browser))


@needs_device
def test_a_site_does_not_replace_other_files(tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    (tmp_path / "device/driver.c").write_text("mine")
    command = [sys.executable, "-m", "mspt", "serve", "--site", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "holds other files, such as device; name an empty folder" in done.stderr
    site = tmp_path / "site"
    command[-1] = str(site)
    limits = ["--max-faces", "3", "--max-megapixels", "2"]
    for _ in range(2):
        subprocess.run([*command, *limits], check=True, capture_output=True)
    about = json.loads((site / "device/models.json").read_text())
    assert (about["max_faces"], about["max_pixels"]) == (3, 2_000_000)
    (site / "CNAME").write_text("mine")
    done = subprocess.run(command, capture_output=True, text=True)
    assert "such as CNAME" in done.stderr
    assert (site / "CNAME").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["device", "site"]


@needs_device
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no other disk at hand")
def test_a_site_may_lie_on_another_disk(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        (tmp_path / "site").symlink_to(elsewhere)
        command = [sys.executable, "-m", "mspt", "serve", "--site", str(tmp_path / "site")]
        Path(elsewhere, ".mspt-site-killed").mkdir()
        for _ in range(2):
            subprocess.run(command, check=True, capture_output=True)
        assert Path(elsewhere, "device/models.json").is_file()
        assert [p.name for p in Path(elsewhere).glob(".*")] == [".mspt-site-killed"]
