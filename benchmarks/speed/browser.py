"""How long does a score take in the browser? Milliseconds a picture, with its reasons.

    python -m benchmarks.speed.browser [--pictures 10]

In:   the example portrait as a webcam's picture, a JPEG of 1280 x 720 px.
Out:  for each embedded model the mean over all pictures but the first, on one thread: plain files
      are served without the headers that allow more.
Needs what `make web` builds, and Debian's chromium and chromium-driver.
"""

import argparse
import functools
import http.server
import io
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver

from mspt.inference.models import embedded_models
from mspt.serve.device import write_site

PHOTO = Path(__file__).parents[2] / "examples/faces/original.png"
PICTURE = "picture.jpg"
SCRIPT = """
const [name, pictures, picture] = arguments;
return (async () => {
  const { Device } = await import("./device/device.js");
  const device = await Device.open(new URL("device/models.json", document.baseURI).href, name);
  const photo = await (await fetch(picture)).blob();
  await device.score(photo, false);
  const begun = performance.now();
  for (let i = 0; i < pictures; i++) await device.score(photo, false);
  return (performance.now() - begun) / pictures;
})();
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Give the address at which a folder is served."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def make_picture() -> bytes:
    """Return what a webcam would give."""
    buffer = io.BytesIO()
    with Image.open(PHOTO) as image:
        image.convert("RGB").resize((1280, 720)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10)
    pictures = parser.parse_args().pictures
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder, "site")
        write_site(site, None)
        (site / PICTURE).write_bytes(make_picture())
        with serving(site) as address, webdriver.Chrome(options, service) as browser:
            browser.set_script_timeout(600)
            browser.get(address)
            for name in embedded_models():
                ms = browser.execute_script(SCRIPT, name, pictures, PICTURE)
                print(f"{name}: {ms:.0f} ms a picture", flush=True)


if __name__ == "__main__":
    main()
