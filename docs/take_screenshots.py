"""Take the pictures of docs/serve.md: the page in light, in dark and on a phone.

    python docs/take_screenshots.py

Needs Debian's chromium and chromium-driver; the photos are those of examples/faces.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from selenium import webdriver

ROOT = Path(__file__).parents[1]
PORT = 8765
PICTURES = {
    "page-light.png": ("1000,820", ()),
    "page-dark.png": ("1000,820", ("--force-dark-mode",)),
    "page-phone.png": ("390,844", ()),
}


def take(name: str, size: str, arguments: tuple[str, ...]) -> None:
    """Open the page, drop the example photos on it, and save what is seen."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", f"--window-size={size}", *arguments):
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as browser:
        browser.get(f"http://127.0.0.1:{PORT}/")
        photos = "\n".join(map(str, sorted((ROOT / "examples/faces").iterdir())))
        browser.find_element("id", "files").send_keys(photos)
        while "to go" in (text := browser.find_element("id", "status").text) or not text:
            time.sleep(0.1)
        browser.save_screenshot(str(ROOT / "docs" / name))


def main() -> None:
    """Serve the page and take all pictures."""
    command = [sys.executable, "-m", "mspt", "serve", "--port", str(PORT)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        time.sleep(8)
        for name, (size, arguments) in PICTURES.items():
            take(name, size, arguments)
        server.terminate()


if __name__ == "__main__":
    main()
