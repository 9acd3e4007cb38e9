"""What scripts ask that score the photos of a split with some models."""

import argparse
from pathlib import Path


def read_options(doc: str, **flags: str) -> argparse.Namespace:
    """Return `photos_csv`, `models` (default: the embedded ones), `split`, and flags with help."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("photos_csv", type=Path)
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--split", default="test")
    for name, what in flags.items():
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=what)
    options = parser.parse_args()
    options.models = options.models or ["base", "fast"]
    return options
