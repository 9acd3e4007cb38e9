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
import evidence
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


def test_the_evidence_counts_pairs_and_ties() -> None:
    assert evidence.auc(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == pytest.approx(3.5 / 4)


def graded(person: int, severity: float, lenient: float) -> tuple[Entry, float]:
    entry = Entry(
        path=Path(f"{person}-{severity}"),
        mos=1 - severity,
        identity=str(person),
        degradation="jpeg",
        severity=severity,
    )
    return entry, 1 - severity + lenient


def test_a_group_that_is_scored_more_kindly_shows_as_a_gap() -> None:
    rng = np.random.default_rng(0)
    made = [
        graded(person, float(severity), 0.1 * (person % 2))
        for person in range(20)
        for severity in rng.random(10)
    ]
    entries, score = [e for e, _ in made], np.array([s for _, s in made])
    groups = {str(person): "ab"[person % 2] for person in range(20)}
    *_, gap, of_label = evidence.groups_table("x", entries, score, groups)
    assert "largest gap, score" in gap
    assert float(gap.split("| ")[4].split()[0]) == pytest.approx(0.1, abs=0.01)
    assert float(of_label.split("| ")[4].split()[0]) == pytest.approx(0, abs=0.01)


def test_skin_tones_are_binned_and_gray_faces_have_none(tmp_path: Path) -> None:
    tones = {"light": (240, 205, 185), "brown or dark": (95, 60, 45), "": (150, 150, 150)}
    for name, colour in tones.items():
        path = tmp_path / f"{name or 'gray'}.png"
        Image.new("RGB", (64, 64), colour).save(path)
        assert evidence.skin_tone(path) == name


def test_the_page_of_evidence_has_a_place_for_every_part() -> None:
    page = (ROOT / "docs/evidence.md").read_text(encoding="utf-8")
    for part in ("test", "outside", "peers", "order", "kinds", "wild", "robustness", "tones"):
        assert f"<!-- {part} -->" in page
        assert f"<!-- /{part} -->" in page


def test_outside_damage_says_whether_training_has_its_like() -> None:
    kinds = {kind.__name__ for kind in outside_set.KINDS}
    assert set(outside_set.ALIKE) <= kinds
    assert [outside_set.source_of(d) for d in ("", "gamma", "haze+tinted", "haze+avif")] == [
        "pristine",
        "filters",
        "filters",
        "foreign",
    ]


def test_zoom_blur_leaves_the_picture_where_it_was(face: RGB) -> None:
    """Else a full-reference label would punish the shift, not the blur."""
    blurred = outside_set.zoom_blur(Image.fromarray(face), 1.0, np.random.default_rng(0))
    ring = np.asarray(blurred)[60:-60, 20:40].astype(float)
    errors = [
        np.abs(ring - np.roll(face, shift, axis=1)[60:-60, 20:40]).mean() for shift in (-6, 0, 6)
    ]
    assert errors[1] == min(errors)
