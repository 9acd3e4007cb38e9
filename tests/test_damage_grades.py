"""Grades of damaged images: how they are dealt, read and levelled, and what labels learn."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from mspt.evaluation.manifest import Entry, write_manifest
from mspt.synthesis.mos import VisibleLoss, stored_calibration
from mspt.synthesis.reference_metrics import DISTANCES

sys.path.insert(0, str(ROOT / "benchmarks"))

import blind_grades
import damage_grades
from damage_grades import LABEL_OF_GRADE


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    """Return ten people: an undamaged photo and two damaged versions each."""
    made = []
    (tmp_path / "set/images").mkdir(parents=True)
    for person in range(10):
        for number, mos in enumerate((1.0, 0.8, 0.3)):
            path = tmp_path / f"set/images/p{person}_{number:02d}.png"
            Image.new("RGB", (40, 40), (20 * person, round(200 * mos), 90)).save(path)
            source = "single" if number else "pristine"
            made.append(Entry(path=path, mos=mos, identity=f"p{person}", source=source))
    return made


@pytest.fixture
def deal(entries: list[Entry], tmp_path: Path) -> Path:
    """Return a deal of all damaged images to two viewers, who grade by the label."""
    out = tmp_path / "one"
    damage_grades.deal(entries, 20, 2, seed=0, out_dir=out)
    mos = {e.path.name: e.mos for e in entries}
    for viewer, scale in (("v1", 90), ("v2", 50)):
        key = blind_grades.read_csv(out / f"key-{viewer}.csv")
        rows = [(row["photo"], f"{scale * mos[row['file']]:g}") for row in key]
        blind_grades.write_csv(out / f"grades-{viewer}.csv", ("photo", "grade"), rows)
    return out


def test_every_damaged_image_is_dealt_once_and_numbered(deal: Path, entries: list[Entry]) -> None:
    keys = [blind_grades.read_csv(deal / f"key-{viewer}.csv") for viewer in ("v1", "v2")]
    dealt = [row["file"] for key in keys for row in key]
    assert sorted(dealt) == [e.path.name for e in entries if e.source == "single"]
    assert [len(key) for key in keys] == [10, 10]
    assert {row["set"] for key in keys for row in key} == {"set"}
    assert len(list((deal / "v1").glob("s*.png"))) == 5
    with Image.open(deal / "v1/s001.png") as sheet:
        assert sheet.size == (1280, 640 + blind_grades.CAPTION_PX)
    with pytest.raises(SystemExit, match="holds a deal already"):
        damage_grades.deal(entries, 4, 2, seed=1, out_dir=deal)
    with pytest.raises(SystemExit, match="99 images for 2 viewers: .* at most the 20 damaged ones"):
        damage_grades.deal(entries, 99, 2, seed=1, out_dir=deal)
    with pytest.raises(SystemExit, match="holds no deal"):
        damage_grades.collect(deal / "v1", deal / "damaged.csv")


def test_a_viewer_who_is_stricter_comes_out_level(deal: Path, tmp_path: Path) -> None:
    grades = tmp_path / "damaged.csv"
    assert damage_grades.collect(deal, grades) == 20
    rows = blind_grades.read_csv(grades)
    viewer, level = np.array([row["viewer"] for row in rows]), np.array(damage_grades.level(rows))
    for name in ("one-v1", "one-v2"):
        assert np.mean(level[viewer == name]) == pytest.approx(damage_grades.LEVEL_MEAN)
        assert np.std(level[viewer == name]) == pytest.approx(damage_grades.LEVEL_SD)
    with pytest.raises(SystemExit, match=r"damaged\.csv: has grades of one-v1 already"):
        damage_grades.collect(deal, grades)
    second = deal.rename(tmp_path / "two")
    assert damage_grades.collect(second, grades) == 40, "a second deal is added to the first"
    found = damage_grades.read_damaged(grades, tmp_path / "set")
    assert len(found) == 20
    assert all(len(of_image) == 2 for of_image in found.values())
    assert damage_grades.read_damaged(grades, tmp_path / "other") == {}
    one = damage_grades.read_damaged(grades, tmp_path / "set", "one")
    assert {name: of_image[:1] for name, of_image in found.items()} == one


def test_a_viewer_who_left_an_image_out_is_named(deal: Path, tmp_path: Path) -> None:
    (deal / "grades-v2.csv").unlink()
    with pytest.raises(SystemExit, match=r"grades-v2\.csv: is not there"):
        damage_grades.collect(deal, tmp_path / "damaged.csv")
    (deal / "grades-v2.csv").write_text("photo,grade\n1,50\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"grades-v2\.csv: photo 2 has grade ''; write 0 to 100"):
        damage_grades.collect(deal, tmp_path / "damaged.csv")
    (deal / "grades-v2.csv").write_text(
        "photo,grade\n" + "".join(f"{i},50\n" for i in range(1, 11)), encoding="utf-8"
    )
    with pytest.raises(SystemExit, match="all grades are 50, which says nothing"):
        damage_grades.collect(deal, tmp_path / "damaged.csv")
    assert not (tmp_path / "damaged.csv").exists()


def test_the_sight_that_made_the_labels_is_found() -> None:
    rng = np.random.default_rng(0)
    true = {
        "haze": VisibleLoss(0.5, 1.3),
        "jpeg": VisibleLoss(0.9, 0.8),
        "blur": VisibleLoss(1.0, 0.6),
    }
    kinds = [[k] for k in true for _ in range(200)] + [["haze", "jpeg"]] * 100
    losses, own = rng.uniform(0.05, 0.95, len(kinds)), rng.uniform(0.8, 1, len(kinds))
    seen = [
        VisibleLoss.mean(true[k] for k in of).seen(loss)
        for of, loss in zip(kinds, losses, strict=True)
    ]
    found = damage_grades.fit_sight(losses, kinds, own, own * (1 - np.array(seen)))
    assert found.keys() == true.keys()
    for kind, sight in true.items():
        assert tuple(found[kind]) == pytest.approx(sight, abs=0.06)


def test_a_set_is_fitted_by_one_deal_and_its_photos_own_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two photos, the second of quality 1/4: root 1/2; haze, JPEG and a chain of both."""
    data, deal_of = tmp_path / "set", {"one": 1.0, "two": 0.5}
    data.mkdir()
    calibration = replace(stored_calibration(), sight={})
    true = {"haze": VisibleLoss(0.6, 1.0), "jpeg": VisibleLoss(0.9, 1.0)}
    records, entries, rows = [], [], []
    for photo, own in (("p0", 1.0), ("p1", 0.5)):
        entries.append(Entry(path=data / f"{photo}_00.png", mos=1, source="pristine"))
        for number in range(1, 61):
            kinds = [["haze"], ["jpeg"], ["haze", "jpeg"]][number % 3]
            distances = dict.fromkeys(DISTANCES, 0.004 * number)
            name = f"{photo}_{number:02d}.png"
            record = {"path": name, "source": "single", "degradation": kinds[0]}
            records.append(record | {"chain": kinds * (len(kinds) > 1), "distances": distances})
            entries.append(Entry(path=data / name, mos=0.5, source="single"))
            mos = own * (
                1 - VisibleLoss.mean(true[k] for k in kinds).seen(calibration.loss(distances))
            )
            marks = np.interp(mos, *zip(*((m, g) for g, m in LABEL_OF_GRADE), strict=True))
            rows += [("set", name, f"{deal}-v1", marks * by) for deal, by in deal_of.items()]
    lines = [{"version": 3}, {"images": records}]
    (data / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_manifest(data / "manifest.csv", entries)
    blind_grades.write_csv(tmp_path / "damaged.csv", ("set", "file", "viewer", "grade"), rows)
    monkeypatch.setattr(blind_grades, "GRADES", tmp_path)
    (tmp_path / "set.csv").write_text("file,ann\np0_00.png,90\np1_00.png,22.5\n")
    monkeypatch.setattr(damage_grades, "level", lambda rows: [float(r["grade"]) for r in rows])
    found = damage_grades.fit(data, tmp_path / "damaged.csv", "one")
    assert found.keys() == true.keys()
    for kind, sight in true.items():
        assert tuple(found[kind]) == pytest.approx(sight, abs=0.08)
    with pytest.raises(SystemExit, match="deal 'three' has no grade of haze, jpeg in"):
        damage_grades.fit(data, tmp_path / "damaged.csv", "three")


def test_grades_become_labels_and_graded_images_get_the_mean(entries: list[Entry]) -> None:
    marks = [damage_grades.label_of_grade(g) for g in range(101)]
    assert marks == sorted(marks)
    assert 0 <= marks[0] < 0.05
    assert marks[100] == 1
    blended = damage_grades.blend(entries, {entries[1].path.name: [50.0, 60.0]})
    assert blended[1].mos == pytest.approx((0.8 + damage_grades.label_of_grade(55)) / 2)
    assert [e for i, e in enumerate(blended) if i != 1] == entries[:1] + entries[2:]


def test_photos_as_people_took_them_are_labelled_by_grades_alone(
    entries: list[Entry], tmp_path: Path
) -> None:
    names = [e.path.name for e in entries]
    (tmp_path / "real.csv").write_text("file,ann,bob\n" + "".join(f"{n},60,80\n" for n in names))
    real = [replace(e, mos=math.nan) for e in entries]
    labelled = damage_grades.label_real(real, tmp_path / "real.csv")
    assert {e.mos for e in labelled} == {damage_grades.label_of_grade(70)}
    with pytest.raises(SystemExit, match=r"q\.png: no grade of it in"):
        damage_grades.label_real([replace(real[0], path=Path("q.png"))], tmp_path / "real.csv")


def test_grades_are_compared_with_labels_scores_and_each_other(entries: list[Entry]) -> None:
    damaged = [e for e in entries if e.source == "single"]
    graded = {e.path.name: [100 * e.mos, 90 * e.mos] for e in damaged[:12]}
    counted = [replace(e, mos=1 - e.mos) for e in entries]
    scores = {"base": np.array([e.mos for e in entries])}
    lines = list(damage_grades.compare_damaged(entries, graded, scores, counted))
    assert lines[0] == "| 12 damaged images: SRCC of the grade with | |"
    cells = dict(line.strip("| ").split(" | ", 1) for line in lines[2:])
    assert cells["label of damage alone"].startswith("1.000")
    assert cells["label with the photo's faults"].startswith("-1.000")
    assert cells["base"].startswith("1.000")
    assert cells["another viewer's grade (12 images)"].startswith("1.000")
    scores["base-6"] = -scores["base"]
    lines = list(damage_grades.compare_damaged(entries, graded, scores, entries))
    assert "| base over base-6 | +2.000" in "".join(lines)
    assert not any("faults" in line for line in lines), "no photo's own faults are known"
