"""What scripts ask that score the photos of a split with some models."""

import argparse
from pathlib import Path


def read_options(doc: str) -> argparse.Namespace:
    """Return `photos_csv`, `models` (default: the embedded ones) and `split`."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("photos_csv", type=Path)
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    options.models = options.models or ["base", "fast"]
    return options
