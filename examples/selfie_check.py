"""Ask a running `mspt serve` whether a selfie is good enough, and what would help.

python examples/selfie_check.py examples/faces/underexposure-0.6.png
"""

import json
import os
import sys
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

ADDRESS = os.environ.get("MSPT_ADDRESS", "http://127.0.0.1:8000")
GOOD_ENOUGH = 0.5
ADVICE = {
    "blurred": "hold still and let the camera focus",
    "noisy": "find more light",
    "dark": "turn to the light",
    "bright": "move away from the light",
    "small": "come closer",
    "blocky": "send the photo as the camera saved it",
    "flat": "wipe the lens, and keep lamps out of the picture",
    "colour_cast": "find white light",
    "uneven_light": "turn until both sides are lit",
}


def main(photo: str) -> None:
    """Send the photo; print its score and, if it is poor, what to do."""
    headers = {"Content-Type": "application/octet-stream"}
    if token := os.environ.get("MSPT_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    try:
        with open(photo, "rb") as file:
            request = Request(f"{ADDRESS}/v1/score?factors=true", file.read(), headers)
    except OSError as error:
        raise SystemExit(f"{photo}: {error.strerror}") from error
    try:
        with urlopen(request, timeout=30) as answer:
            row = json.load(answer)["rows"][0]
    except HTTPError as error:
        raise SystemExit(json.load(error)["detail"]) from error
    except URLError as error:
        raise SystemExit(f"{ADDRESS}: no server; start `mspt serve` ({error.reason})") from error
    if row["score"] is None:  # with ?detect=true: no face was found
        raise SystemExit(row["error"])
    print(f"{row['score']:.2f} {row['band']}")
    if row["score"] < GOOD_ENOUGH:
        codes = row["reason_codes"].split()
        print("; ".join(ADVICE[c] for c in codes if c in ADVICE) or "take another one")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
