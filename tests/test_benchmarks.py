"""The scripts behind our claims: fair arms, an outside set that does damage, honest intervals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.evidence import compare as compare_models
from benchmarks.evidence import groups, labelled, mild, outside_set
from benchmarks.evidence.pages import fill_page
from benchmarks.evidence.steady import MIRRORED, SHIFTED, Moves
from benchmarks.studies import ablation
from conftest import ROOT
from PIL import Image

from mspt.arrays import RGB
from mspt.evaluation.evaluate import Estimate
from mspt.evaluation.manifest import Entry
from mspt.evaluation.metrics import srcc
from mspt.evaluation.predictions import Predictions
from mspt.synthesis.mos import stored_calibration

pytestmark = pytest.mark.slow


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
        [Predictions(entries, mos + noises.normal(0, noise, 300)) for _ in range(3)]
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
    group_of = {str(person): "ab"[person % 2] for person in range(20)}
    found = groups.measure_groups(entries, score, group_of)
    assert {name: (g.people, g.images) for name, g in found.groups.items()} == {
        "a": (10, 100),
        "b": (10, 100),
    }
    assert found.gap.value == pytest.approx(0.1, abs=0.01)
    assert found.gap.low < 0.1 < found.gap.high
    assert found.label_gap.value == pytest.approx(0, abs=0.01)


def test_skin_tones_are_binned_and_gray_faces_have_none(tmp_path: Path) -> None:
    tones = {"light": (240, 205, 185), "brown or dark": (95, 60, 45), "": (150, 150, 150)}
    for name, colour in tones.items():
        path = tmp_path / f"{name or 'gray'}.png"
        Image.new("RGB", (64, 64), colour).save(path)
        assert groups.skin_tone(path) == name


@pytest.fixture
def entries() -> list[Entry]:
    """Return images of ten faces that fall apart by steps."""
    made = [graded(person, severity, 0.0)[0] for person in range(10) for severity in (0, 0.3, 0.7)]
    return [
        replace(e, degradation="jpeg" * (e.mos < 1), source="single" if e.mos < 1 else "pristine")
        for e in made
    ]


def test_agreement_with_labels_is_told_by_source_and_kind(
    entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    mos = np.array([e.mos for e in entries])
    found = labelled.agreement_of(entries, {"good": mos, "bad": -mos})
    rows = {row.split("|")[1].strip(): row for row in labelled.sources_table(found)}
    one, least = "1.000 [1.000, 1.000]", "-1.000 [-1.000, -1.000]"
    assert rows["SRCC, all"] == f"| SRCC, all | 30 | {one} | {least} |"
    assert rows["SRCC, single"] == f"| SRCC, single | 20 | {one} | {least} |"
    assert "original above its damaged versions" not in rows, "20 pairs say nothing"
    monkeypatch.setattr(labelled, "FEW_PAIRS", 20)
    rows = {row.split("|")[1].strip(): row for row in labelled.sources_table(found)}
    assert rows["original above its damaged versions"].endswith("| 20 | 100 % | 0.0 % |")
    assert list(labelled.kinds_table(found))[2:] == [f"| jpeg | 20 | {one} | {least} |"]


def test_models_are_compared_with_the_first(entries: list[Entry]) -> None:
    mos = np.array([e.mos for e in entries])
    values = {"base": mos, "fast": -mos}
    still = Moves(30, Estimate(value=0.002, low=0.001, high=0.012), 0.02)
    steady_of = {name: dict.fromkeys((MIRRORED, SHIFTED), still) for name in values}
    leads = labelled.leads_of(entries, values, "base")
    found = labelled.agreement_of(entries, values)
    lines = list(compare_models.overall_table(found, steady_of, leads))
    base, fast = "1.0000 [1.0000, 1.0000]", "-1.0000 [-1.0000, -1.0000]"
    assert lines[2:] == [
        f"| base | {base} | {base} | 100 % | .0020 | .0020 |  |",
        f"| fast | {fast} | {fast} | 0.0 % | .0020 | .0020 | -2.0000 [-2.0000, -2.0000] |",
    ]


def test_mild_damage_is_told_by_its_mean_and_the_share_it_raises() -> None:
    changes = {name: np.array([0.02, -0.04, -0.01, -0.01]) for name in mild.DAMAGE}
    lines = list(mild.mild_table({"base": changes}))
    assert lines[2] == "| noise sd 2 | -0.010, 25% |"
    assert len(lines) == 2 + len(mild.DAMAGE)


def test_pages_have_a_place_for_every_table(tmp_path: Path) -> None:
    parts = ("people", "photos", "mild", "pairs", "test", "outside", "kinds", "robustness", "tones")
    for name, wanted in {
        "docs/evidence.md": parts,
        "MODEL_CARD.md": ("figures",),
        "README.md": ("figures",),
    }.items():
        page = tmp_path / Path(name).name
        page.write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
        fill_page(page, {part: [f"table of {part}"] for part in wanted})
        assert all(f"table of {part}" in page.read_text(encoding="utf-8") for part in wanted)
        with pytest.raises(SystemExit, match="has no place for other"):
            fill_page(page, {"other": []})


def test_steadiness_is_taken_on_every_sixth_image(tmp_path: Path, face: RGB) -> None:
    Image.fromarray(face).save(tmp_path / "face.png")
    entries = [Entry(path=tmp_path / "face.png", mos=0.5, identity="a")] * 7
    steady = compare_models.measure_steadiness(entries, "fast")
    assert steady.keys() == {MIRRORED, SHIFTED}
    assert all(move.images == 2 and 0 < move.mean.value < 0.1 for move in steady.values())


def test_a_page_without_a_place_stays_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- a -->\nold\n<!-- /a -->\n<!-- b -->\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="no place for b: add <!-- b --> and <!-- /b -->"):
        fill_page(page, {"a": ["new"], "b": ["new"]})
    assert "old" in page.read_text(encoding="utf-8")
    fill_page(page, {"a": ["new"]})
    assert page.read_text(encoding="utf-8") == "<!-- a -->\nnew\n<!-- /a -->\n<!-- b -->\n"


def test_outside_damage_says_whether_training_has_its_like() -> None:
    kinds = {kind.__name__ for kind in outside_set.KINDS}
    assert set(outside_set.ALIKE) == kinds
    assert set(outside_set.ALIKE.values()) <= set(stored_calibration().sight)
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
