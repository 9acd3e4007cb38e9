"""Scores that users have seen do not change unnoticed."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import FACES, ROOT
from examples.make_faces import make_faces
from golden.renew import GOLDEN, sha256

from mspt.image.decode import read_rgb
from mspt.inference.models import find_model
from mspt.inference.scorer import Scorer

EXPECTED = json.loads(GOLDEN.read_text(encoding="utf-8"))
RENEW = "If this is intended: `make golden`, then a 'Scores' line in CHANGELOG.md"


@pytest.mark.parametrize("name", sorted(EXPECTED["faces"]))
def test_a_score_is_unchanged(name: str, scorer: Scorer) -> None:
    case = EXPECTED["faces"][name]
    assert sha256(FACES / name) == case["sha256"], f"{name} is another picture. {RENEW}"
    score = scorer.score(FACES / name).score
    assert score == pytest.approx(case["score"], abs=EXPECTED["tolerance"]), (
        f"{name}: {score:.6f}, was {case['score']:.6f}. {RENEW}"
    )


def test_the_model_is_the_one_the_scores_are_of() -> None:
    assert sha256(find_model("base")) == EXPECTED["model_sha256"], f"another model. {RENEW}"


def test_every_example_face_has_a_golden_score() -> None:
    assert sorted(EXPECTED["faces"]) == sorted(path.name for path in FACES.glob("*.png"))
    assert len(EXPECTED["faces"]) == 11


def test_the_original_looks_better_than_its_damaged_versions() -> None:
    scores = {name: case["score"] for name, case in EXPECTED["faces"].items()}
    original = scores.pop("original.png")
    assert all(original > score for score in scores.values()), scores
    assert scores["gaussian_blur-0.15.png"] > scores["gaussian_blur-0.45.png"]


def test_the_faces_are_what_the_repo_makes(tmp_path: Path) -> None:
    """The same seed gives the same pixels here as where the pictures were made."""
    for name, rgb in make_faces().items():
        stored = read_rgb(ROOT / "examples/faces" / name)
        assert np.array_equal(rgb, stored), f"{name} came out differently"
