"""Average the weights of checkpoints of one network: some released models are such means.

    python runs/average.py FIRST SECOND [MORE ...] --data data/release-train --out out/averaged

In:   checkpoint folders, all trained on from the weights of the first (or of one start), and a set
      by `mspt synthesize`, on whose images batch-norm statistics are measured again.
Out:  a checkpoint folder, for `mspt export`; all but its weights is the last's.
Source: WiSE-FT (arXiv:2109.01903) and model soups (arXiv:2203.05482): between a network and its
fine-tuned selves lie some that keep the old and the new alike, and generalise better than all.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mspt.evaluation.manifest import read_manifest, select_entries
from mspt.parallel import keep_freed_memory
from mspt.training.batches import batches_in_order
from mspt.training.carryover import reestimate_batch_norm
from mspt.training.checkpoint import Tensors, load_network, load_state, save_checkpoint
from mspt.training.frames import build_frames

BATCH, BATCHES = 16, 32  # images that statistics are measured on


def average(checkpoints: Sequence[Path], manifest: Path, out: Path) -> None:
    """Write the mean of checkpoints, its statistics measured on training images."""
    last = checkpoints[-1]
    state, network = load_state(last), load_network(last)
    network.load_state_dict(mean_of([load_network(c).state_dict() for c in checkpoints]))
    entries = select_entries(read_manifest(manifest), split="train")
    chosen = np.random.default_rng(0).permutation(len(entries))[: BATCH * BATCHES]
    with tempfile.TemporaryDirectory() as cache:
        frames = build_frames([entries[i] for i in chosen], state.spec, Path(cache))
        reestimate_batch_norm(network, batches_in_order(frames, BATCH))
    save_checkpoint(out, state, dict(network.state_dict()), {})


def mean_of(weights: Sequence[Tensors]) -> Tensors:
    """Return the mean of each tensor; counters, which have none, are the last's."""
    return {
        name: sum(w[name] for w in weights) / len(weights) if last.is_floating_point() else last
        for name, last in weights[-1].items()
    }


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if len(options.checkpoints) < 2:
        parser.error(f"a mean wants two checkpoints or more, got {len(options.checkpoints)}")
    keep_freed_memory()
    average(options.checkpoints, options.data / "manifest.csv", options.out)
    print(options.out)


if __name__ == "__main__":
    main()
