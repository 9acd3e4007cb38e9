"""The scripts behind our claims: fair arms, an outside set that does damage, honest intervals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.evidence import compare as compare_models
from benchmarks.evidence import measure as evidence
from benchmarks.evidence import outside_set
from benchmarks.evidence import tables as evidence_tables
from benchmarks.evidence.pages import fill_page
from benchmarks.evidence.tables import MIRRORED, SHIFTED
from benchmarks.studies import ablation
from conftest import ROOT
from labels import apply
from labels.apply import label_of_grade
from PIL import Image

from mspt.arrays import RGB
from mspt.evaluation.evaluate import Estimate
from mspt.evaluation.manifest import Entry, write_manifest
from mspt.evaluation.metrics import srcc
from mspt.evaluation.predictions import Predictions
from mspt.synthesis.mos import stored_calibration
from mspt.synthesis.synthesize import photo_name

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
    found = evidence.measure_groups(entries, score, groups)
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
        assert evidence.skin_tone(path) == name


@pytest.fixture
def findings() -> evidence_tables.Findings:
    """Return what is measured of a good and a bad model on ten faces that fall apart by steps."""
    made = [graded(person, severity, 0.0)[0] for person in range(10) for severity in (0, 0.3, 0.7)]
    entries = [
        replace(e, degradation="jpeg" * (e.mos < 1), source="foreign" if e.mos < 1 else "pristine")
        for e in made
    ]
    mos = np.array([e.mos for e in entries])
    peers = {evidence.MSPT_PEER: mos, evidence.EDGENEXT_PEER: -mos}
    values = {"base": mos, "fast": -mos} | peers
    both = {"test": entries, "outside": entries}
    models = {
        n: evidence_tables.Model(f"`{n}`", 640, 0.469, n in evidence.EMBEDDED) for n in values
    }
    still = evidence_tables.Moves(30, Estimate(value=0.002, low=0.001, high=0.012), 0.02)
    told = evidence_tables.Separation(Estimate(value=0.9, low=0.8, high=1), 0.8, 0.4)
    groups = evidence.measure_groups(entries, mos, {str(p): "ab"[p % 2] for p in range(10)})
    return evidence_tables.Findings(
        models=models,
        agreement={w: evidence.agreement_of(e, values) for w, e in both.items()},
        damage_alone={w: evidence.agreement_of(e, values) for w, e in both.items()},
        blind={which: [f"| {which} |", "|---|"] for which in ("test", "outside", "real")},
        damaged={which: [f"| damaged {which} | |"] for which in both},
        leads={w: evidence.leads_of(e, values, "base") for w, e in both.items()},
        peers=evidence.compare_peers(entries, values),
        counts=(10, 20),
        told=dict.fromkeys(values, told),
        moves={c: dict.fromkeys(models, still) for c in (MIRRORED, SHIFTED)},
        groups={what: dict.fromkeys(models, groups) for what in ("tones", "sources")},
        labelled={},
    )


def test_labels_count_faults_where_photos_were_graded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("release-test", "outside-test"):
        entries = [
            Entry(path=tmp_path / name / f"{p}_{n:02d}.png", mos=m, identity=p, degradation=d)
            for p in map(photo_name, ("p0", "p1"))
            for n, (m, d) in enumerate(((1.0, ""), (0.6, "jpeg")))
        ]
        (tmp_path / name).mkdir()
        write_manifest(tmp_path / name / "manifest.csv", entries)
    header = "set,file,grader,grade\n"
    (tmp_path / "faces.csv").write_text(f"{header}faces,p0,ann,55\nfaces,p1,ann,100\n")
    (tmp_path / "undamaged.csv").write_text(f"{header}release-test,p0_00.png,ann,45\n")
    (tmp_path / "damaged.csv").write_text(
        f"{header}release-test,p0_01.png,v1,40\nrelease-test,p1_01.png,v1,60\n"
    )
    monkeypatch.setattr(apply, "FACES", tmp_path / "faces.csv")
    monkeypatch.setattr(evidence, "UNDAMAGED", tmp_path / "undamaged.csv")
    monkeypatch.setattr(evidence, "DAMAGED", tmp_path / "damaged.csv")
    photos = tmp_path / "photos.csv"
    photos.write_text(
        "file,set,split,usage,identity,source_repo\na.jpg,wild,test,permissive,x,y/z\n"
    )
    folders = {w: tmp_path / f"{n}-test" for w, n in (("test", "release"), ("outside", "outside"))}
    sets = evidence.Sets.read(photos, folders, None)
    assert sets.grades.keys() == {"test"}
    own = label_of_grade(55)  # of p0's photo
    for which in folders:
        undamaged, damaged, *faultless = (e.mos for e in sets.labelled_entries(which))
        assert undamaged == pytest.approx(own)
        assert own + 0.6 - 1 < damaged < min(own, 0.6)
        assert faultless == [1.0, 0.6]
    assert sorted(sets.levelled["test"]) == ["p0_01.png", "p1_01.png"]
    assert sets.levelled["outside"] == {}
    assert [e.source for e in sets.entries["real"]] == ["wild"]


def test_all_pages_have_a_place_for_every_table(
    findings: evidence_tables.Findings, tmp_path: Path
) -> None:
    card = {"figures": list(evidence_tables.card_table(findings))}
    readme = {"figures": list(evidence_tables.readme_table(findings))}
    tables = evidence_tables.page_tables(findings)
    for name, parts in {
        "docs/evidence.md": tables,
        "MODEL_CARD.md": card,
        "README.md": readme,
    }.items():
        page = tmp_path / Path(name).name
        page.write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
        fill_page(page, parts)
        for lines in parts.values():
            assert "\n".join(lines) in page.read_text(encoding="utf-8")
            columns = {line.count("|") for line in lines if line.startswith("|")}
            assert len(columns) == 1


def test_the_aims_are_judged_by_what_was_measured(findings: evidence_tables.Findings) -> None:
    rows = {row.split("|")[1].strip(): row for row in evidence_tables.aims_table(findings)}
    assert rows["on `test` people"] == "| on `test` people | aim | `base` | `fast` | |"
    assert rows["SRCC with labels"] == (
        "| SRCC with labels | .94 | 1.000 [1.000, 1.000] | -1.000 | met |"
    )
    assert rows["original above its degraded versions"].endswith(
        "| 100 % [100, 100] | 0.0 % | met |"
    )
    assert (
        "| < .01 | .002 [.001, .012] | .002 | met; its interval" in (rows["mirrored: mean change"])
    )
    assert rows["`fast` below `base`, SRCC with labels"].endswith(
        "| 2.000 [2.000, 2.000] | **missed** |"
    )
    peers = rows["MSPT over EdgeNeXt-XXS, same data, both from random weights: SRCC with labels"]
    assert peers.endswith("met at this budget: +2.000 [+2.000, +2.000] |")


def test_models_are_compared_with_the_first(findings: evidence_tables.Findings) -> None:
    agreement = {name: findings.agreement["test"][name] for name in ("base", "fast")}
    steady = {name: {c: findings.moves[c][name] for c in findings.moves} for name in agreement}
    table = list(compare_models.overall_table(agreement, steady, findings.leads["test"]))
    base, fast = "1.0000 [1.0000, 1.0000]", "-1.0000 [-1.0000, -1.0000]"
    assert table[2:] == [
        f"| base | {base} | {base} | 100 % | .0020 | .0020 |  |",
        f"| fast | {fast} | {fast} | 0.0 % | .0020 | .0020 | -2.0000 [-2.0000, -2.0000] |",
    ]


def test_steadiness_is_taken_on_every_sixth_image(tmp_path: Path, face: RGB) -> None:
    Image.fromarray(face).save(tmp_path / "face.png")
    entries = [Entry(path=tmp_path / "face.png", mos=0.5, identity="a")] * 7
    steady = compare_models.measure_steadiness(entries, "fast")
    assert steady.keys() == {MIRRORED, SHIFTED}
    assert all(move.images == 2 and 0 < move.mean.value < 0.1 for move in steady.values())


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.95, 0.941, 0.96, "met"),
        (0.95, 0.93, 0.96, "met; its interval reaches past"),
        (0.93, 0.92, 0.95, "**missed**, inside the interval"),
        (0.93, 0.92, 0.935, "**missed**"),
        (0.95, np.nan, np.nan, "met"),  # too few people for an interval
        (np.nan, np.nan, np.nan, "not measured"),
    ],
)
def test_a_verdict_says_what_the_interval_says(
    value: float, low: float, high: float, verdict: str
) -> None:
    found = Estimate(value=value, low=low, high=high)
    assert evidence_tables.Aim("x", 0.94, lambda _f, _n: found).verdict(found) == verdict
    mirrored = Estimate(value=1 - value, low=1 - high, high=1 - low)
    below = evidence_tables.Aim("x", 0.06, lambda _f, _n: mirrored, below=True)
    assert below.verdict(mirrored) == verdict


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
