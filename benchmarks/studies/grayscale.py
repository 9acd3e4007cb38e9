"""Does a model mark photos down for having no colour? Scores undamaged photos twice.

python -m benchmarks.studies.grayscale data/val/manifest.csv [fast, or FILE.onnx]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import mspt
from mspt.evaluation.manifest import read_manifest
from mspt.evaluation.metrics import bootstrap_interval


def main(manifest: Path, model: str = "base") -> None:
    """Print the mean score in colour and in gray, and their difference."""
    scorer = mspt.load(model)
    paths = [e.path for e in read_manifest(manifest) if not e.degradation and e.mos == 1]
    colour = np.array([scorer.score(path).score for path in paths])
    gray = np.array([scorer.score(Image.open(path).convert("L")).score for path in paths])
    loss = colour - gray
    low, high = bootstrap_interval(lambda i: float(loss[i].mean()), range(len(loss)))
    print(f"{len(paths)} undamaged photos: colour {colour.mean():.3f}, gray {gray.mean():.3f}")
    print(f"lost without colour: {loss.mean():.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
