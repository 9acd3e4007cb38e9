"""The scripts behind our claims: fair arms, an outside set that does damage, honest intervals."""

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from mspt.evaluation.manifest import Entry
from mspt.evaluation.metrics import srcc
from mspt.evaluation.scored import ScoredSet
from mspt.image.crop import RGB

sys.path.insert(0, str(ROOT / "benchmarks"))

import ablation
import outside_set


def test_the_arms_of_the_ablation_cost_the_same() -> None:
    arms = [ablation.Arm.read(path) for path in sorted(ablation.RUNS.glob("*.toml"))]
    assert [arm.name[0] for arm in arms] == list("abcdefg")
    ablation.check_costs(arms)
    with pytest.raises(SystemExit, match="costs differ by more than 1%"):
        ablation.check_costs([*arms, ablation.Arm("h", "", "mspt", 1, 2 * arms[0].cost)])


def ensemble(noise: float, seed: int) -> ablation.Ensemble:
    """Return three seeds' scores of 300 images of 30 people, equally noisy."""
    rng = np.random.default_rng(0)
    mos = rng.random(300)
    entries = [
        Entry(path=Path(f"{i}"), mos=float(m), identity=str(i % 30)) for i, m in enumerate(mos)
    ]
    noises = np.random.default_rng(seed)
    return ablation.Ensemble(
        [ScoredSet(entries, mos + noises.normal(0, noise, 300)) for _ in range(3)]
    )


def test_a_lead_is_sure_only_when_it_is_there() -> None:
    values, leads = ablation.resample(ensemble(0.1, 1), ensemble(0.5, 2), srcc)
    assert ablation.interval(leads)[0] > 0
    assert ablation.interval(values)[0] > 0.8
    low, high = ablation.interval(ablation.resample(ensemble(0.3, 1), ensemble(0.3, 2), srcc)[1])
    assert low < 0 < high


@pytest.mark.parametrize("damage", outside_set.KINDS, ids=lambda kind: kind.__name__)
def test_outside_damage_grows_with_its_strength(damage: outside_set.Damage, face: RGB) -> None:
    def distance(strength: float) -> float:
        image = damage(Image.fromarray(face), strength, np.random.default_rng(2))
        assert (image.mode, image.size) == ("RGB", (320, 320))
        return float(np.abs(np.asarray(image).astype(float) - face).mean())

    weak, strong = distance(0.1), distance(0.9)
    assert 0 < weak < strong
