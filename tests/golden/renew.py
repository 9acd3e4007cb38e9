"""Write the embedded model's scores of examples/faces anew: `make golden`.

Review the diff, and note the change under "Scores" in CHANGELOG.md: users compare scores.
"""

import hashlib
import json
from pathlib import Path

import mspt
from mspt.inference.models import find_model

HERE = Path(__file__).parent
FACES = HERE.parents[1] / "examples/faces"
GOLDEN = HERE / "scores.json"
TOLERANCE = 1e-4  # processors differ in the last bits of float32 sums


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Score and write."""
    scorer = mspt.load("base", backend="onnxruntime")
    scores = {
        path.name: {"sha256": sha256(path), "score": scorer.score(path).score}
        for path in sorted(FACES.glob("*.png"))
    }
    golden = {"model_sha256": sha256(find_model("base")), "tolerance": TOLERANCE, "faces": scores}
    GOLDEN.write_text(json.dumps(golden, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
