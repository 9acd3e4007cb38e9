"""Average the weights of two checkpoints of one network: the released `base` is such a mean.

    python runs/average.py FIRST SECOND data/release-train out/release-v2/averaged

In:   two checkpoint folders, the second trained on from the weights of the first, and a set by
      `mspt synthesize`, on whose images batch-norm statistics are measured again.
Out:  a checkpoint folder, for `mspt export`; all but its weights is the second's.
Source: WiSE-FT (arXiv:2109.01903): between a network and its fine-tuned self lie some that keep the
old and the new alike, and generalise better than both.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from mspt.evaluation.manifest import read_manifest, select_entries
from mspt.parallel import keep_freed_memory
from mspt.training.batches import batches_in_order
from mspt.training.carryover import reestimate_batch_norm
from mspt.training.checkpoint import load_network, load_state, save_checkpoint
from mspt.training.frames import build_frames

BATCH, BATCHES = 16, 32  # images that statistics are measured on


def average(first: Path, second: Path, manifest: Path, out: Path) -> None:
    """Write the mean of two checkpoints, its statistics measured on training images."""
    state, network = load_state(second), load_network(second)
    before = load_network(first).state_dict()
    network.load_state_dict(
        {
            name: (before[name] + value) / 2 if value.is_floating_point() else value
            for name, value in network.state_dict().items()
        }
    )
    entries = select_entries(read_manifest(manifest), split="train")
    chosen = np.random.default_rng(0).permutation(len(entries))[: BATCH * BATCHES]
    with tempfile.TemporaryDirectory() as cache:
        frames = build_frames([entries[i] for i in chosen], state.spec, Path(cache))
        reestimate_batch_norm(network, batches_in_order(frames, BATCH))
    save_checkpoint(out, state, dict(network.state_dict()), {})


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("first", "second", "data", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    average(options.first, options.second, options.data / "manifest.csv", options.out)
    print(options.out)


if __name__ == "__main__":
    main()
