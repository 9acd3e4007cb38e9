"""Where labels are made: what graders are asked, how grades are read, what labels learn of them."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.evidence.graders import compare_degraded, compare_undamaged
from labels import apply, calibrate, grade
from labels.apply import LABEL_OF_GRADE, label_of_grade
from labels.grade import Asked, Grade
from PIL import Image

from mspt.evaluation.manifest import Entry, write_manifest
from mspt.synthesis.mos import VisibleLoss, stored_calibration
from mspt.synthesis.reference_metrics import DISTANCES


@pytest.fixture
def photos(tmp_path: Path) -> list[Asked]:
    """Seven small photos of one list."""
    made = []
    for number in range(7):
        path = tmp_path / f"faces/{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 50), (30 * number, 90, 90)).save(path)
        made.append(Asked("faces", path.name, path))
    return made


def fill_in(out: Path, value: Callable[[int], str]) -> None:
    """Answer for every grader of a deal, by the photo's number."""
    for grader in out.glob("pass*"):
        numbers = [
            row["photo"] for row in grade._read_csv(out / "key.csv") if row["grader"] == grader.name
        ]
        rows = [(number, value(int(number))) for number in numbers]
        grade._write_csv(grader / "grades.csv", ("photo", "grade"), rows)


def test_every_photo_is_dealt_once_a_pass(photos: list[Asked], tmp_path: Path) -> None:
    out = tmp_path / "asked"
    grade.deal(photos, out, graders=2, passes=3, seed=0)
    key = grade._read_csv(out / "key.csv")
    for number in (1, 2, 3):
        dealt = [row["file"] for row in key if row["grader"].startswith(f"pass{number}-")]
        assert sorted(dealt) == sorted(photo.file for photo in photos)
    sheets = sorted(path.name for path in (out / "pass1-grader1").glob("*.png"))
    assert sheets == ["sheet001.png", "sheet002.png"], "four photos, two on a sheet"
    with Image.open(out / "pass1-grader1/sheet001.png") as sheet:
        assert sheet.size == (1280, 640 + grade.CAPTION_PX)
    assert "black-and-white" in (out / "INSTRUCTIONS.txt").read_text()
    with pytest.raises(SystemExit, match="holds a deal that graders may be at"):
        grade.deal(photos, out, graders=2, passes=1, seed=0)


def test_lists_are_read_with_their_conditions(photos: list[Asked], tmp_path: Path) -> None:
    manifest = tmp_path / "faces/list.csv"
    manifest.write_text("file,usage\n0.png,permissive\n1.png,noncommercial\n")
    other = tmp_path / "faces/other.csv"
    other.write_text("path\n2.png\n")  # a list without the column is taken whole
    read = grade.read_lists([manifest, other], {"usage": "permissive"})
    assert [(photo.set_name, photo.file) for photo in read] == [
        ("faces", "0.png"),
        ("faces", "2.png"),
    ]


def test_grades_come_back_with_their_photos(photos: list[Asked], tmp_path: Path) -> None:
    out, collected = tmp_path / "asked", tmp_path / "grades/faces.csv"
    grade.deal(photos, out, graders=2, passes=2, seed=0)
    fill_in(out, lambda number: str(10 * number))
    assert grade.collect(out, collected) == 14
    grades = grade.read_grades(collected)
    assert {g.set_name for g in grades} == {"faces"}
    assert all(len([g for g in grades if g.file == photo.file]) == 2 for photo in photos)


@pytest.mark.parametrize("bad", ["", "101", "-1", "good", "nan"])
def test_a_grade_that_is_none_is_named(bad: str, photos: list[Asked], tmp_path: Path) -> None:
    out = tmp_path / "asked"
    grade.deal(photos, out, graders=1, passes=1, seed=0)
    fill_in(out, lambda number: bad if number == 3 else "50")
    with pytest.raises(SystemExit, match="pass1-grader1: photo 3 has grade .*, not 0 to 100"):
        grade.collect(out, tmp_path / "all.csv")
    assert not (tmp_path / "all.csv").exists()


def test_a_stricter_grader_comes_out_level() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(20, 90, 200)
    grades = [Grade("set", f"{i}", "mild", t) for i, t in enumerate(truth[:100])]
    grades += [Grade("set", f"{i}", "strict", t / 2) for i, t in enumerate(truth[100:], 100)]
    levelled = grade.level(grades, "set")
    values = np.array([levelled[f"{i}"][0] for i in range(200)])
    for part in (values[:100], values[100:]):
        assert part.mean() == pytest.approx(grade.LEVEL_MEAN)
        assert part.std() == pytest.approx(grade.LEVEL_SD)
    assert grade.level(grades, "another") == {}


def test_passes_that_agree_say_so() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, 60)
    grades = [
        Grade("set", f"{i}", f"pass{number}-grader{1 + i % 2}", value + noise * rng.normal())
        for number, noise in ((1, 1), (2, 1), (3, 500))
        for i, value in enumerate(truth)
    ]
    found = grade.agreement_of_passes(grades)
    assert found["pass1", "pass2"] > 0.98
    assert abs(found["pass1", "pass3"]) < 0.5


@pytest.fixture
def entries() -> list[Entry]:
    """Five people: an undamaged photo each, and versions of mos .9, .6 and .3."""
    return [
        Entry(
            path=Path(f"p{person}_{round(10 * (1 - mos)):02d}.png"),
            mos=mos,
            identity=f"p{person}",
            source="pristine" if mos == 1 else "single",
            degradation="" if mos == 1 else "jpeg",
        )
        for person in range(5)
        for mos in (1.0, 0.9, 0.6, 0.3)
    ]


MEAN = {f"p{person}_00.png": 45.0 if person == 1 else 95.0 for person in range(5)}


def test_faults_of_a_photo_lower_all_its_labels(entries: list[Entry]) -> None:
    root = math.sqrt(45 / 90)  # of the quality of p1's photo
    for people in ([e.identity for e in entries], ["one"] * len(entries)):
        named = [replace(e, identity=i) for e, i in zip(entries, people, strict=True)]
        mos = [e.mos for e in apply.count_faults(named, MEAN)]
        assert mos[:4] == [1.0, 0.9, 0.6, 0.3]
        assert mos[4:8] == pytest.approx([root, 0.9 * root, 0.6 * root, 0.3 * root], abs=1e-4)
    stranger = Entry(path=Path("p9_00.png"), mos=1, identity="p9", source="pristine")
    with pytest.raises(SystemExit, match=r"p9_00\.png: no grade of it undamaged"):
        apply.count_faults([*entries, stranger], MEAN)


def test_labels_rise_with_grades_and_graded_images_get_the_mean(entries: list[Entry]) -> None:
    marks = [label_of_grade(g) for g in range(101)]
    assert marks == sorted(marks)
    assert 0 <= marks[0] < 0.05
    assert marks[100] == 1
    blended = apply.blend(entries, {entries[1].path.name: [50.0, 60.0]})
    assert blended[1].mos == pytest.approx((0.9 + label_of_grade(55)) / 2, abs=1e-4)
    assert [e for i, e in enumerate(blended) if i != 1] == entries[:1] + entries[2:]


def test_photos_as_people_took_them_are_labelled_by_grades_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "undamaged.csv").write_text(
        "set,file,grader,grade\nreal-train,a.jpg,ann,60\nreal-train,a.jpg,bob,80\n"
    )
    monkeypatch.setattr(apply, "UNDAMAGED", tmp_path / "undamaged.csv")
    rows = [{"file": f"wild/{n}.jpg", "split": "train", "identity": n} for n in "ab"]
    (found,) = apply.label_real(rows, tmp_path / "faces", tmp_path / "out")
    assert found.mos == pytest.approx(label_of_grade(70), abs=1e-4)
    assert found.path.resolve() == (tmp_path / "faces/wild/a.jpg").resolve()
    with pytest.raises(SystemExit, match="none of 1 photos was graded"):
        apply.label_real(rows[1:], tmp_path / "faces", tmp_path / "out")


def test_the_constants_that_made_the_labels_are_found() -> None:
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
    found = calibrate.fit_constants(losses, kinds, own, own * (1 - np.array(seen)))
    assert found.keys() == true.keys()
    for kind, visible in true.items():
        assert tuple(found[kind]) == pytest.approx(visible, abs=0.06)


def test_a_set_is_fitted_by_its_grades_and_its_photos_own_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two photos, the second of quality 1/4: root 1/2; haze, JPEG and a chain of both."""
    data = tmp_path / "set"
    data.mkdir()
    calibration = replace(stored_calibration(), sight={})
    true = {"haze": VisibleLoss(0.6, 1.0), "jpeg": VisibleLoss(0.9, 1.0)}
    records, entries, lines = [], [], ["set,file,grader,grade"]
    for photo, own in (("p0", 1.0), ("p1", 0.5)):
        entries.append(Entry(path=data / f"{photo}_00.png", mos=1, source="pristine"))
        for number in range(1, 61):
            kinds = [["haze"], ["jpeg"], ["haze", "jpeg"]][number % 3]
            distances = dict.fromkeys(DISTANCES, 0.004 * number)
            name = f"{photo}_{number:02d}.png"
            record = {"path": name, "source": "single", "degradation": kinds[0]}
            records.append(record | {"chain": kinds * (len(kinds) > 1), "distances": distances})
            entries.append(Entry(path=data / name, mos=0.5, degradation=kinds[0]))
            loss = calibration.loss(distances)
            mos = own * (1 - VisibleLoss.mean(true[k] for k in kinds).seen(loss))
            marks = np.interp(mos, *zip(*((m, g) for g, m in LABEL_OF_GRADE), strict=True))
            lines.append(f"set,{name},ann,{marks}")
    journal = [{"version": 3}, {"images": records}]
    (data / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in journal))
    write_manifest(data / "manifest.csv", entries)
    (tmp_path / "damaged.csv").write_text("\n".join(lines))
    (tmp_path / "undamaged.csv").write_text(
        "set,file,grader,grade\nset,p0_00.png,ann,90\nset,p1_00.png,ann,22.5\n"
    )
    monkeypatch.setattr(calibrate, "DAMAGED", tmp_path / "damaged.csv")
    monkeypatch.setattr(calibrate, "UNDAMAGED", tmp_path / "undamaged.csv")

    def as_given(grades: list[Grade], set_name: str) -> dict[str, list[float]]:
        return {g.file: [g.value] for g in grades if g.set_name == set_name}

    monkeypatch.setattr(calibrate, "level", as_given)
    found = calibrate.fit_visible(data, "set")
    assert found.keys() == true.keys()
    for kind, visible in true.items():
        assert tuple(found[kind]) == pytest.approx(visible, abs=0.08)
    with pytest.raises(SystemExit, match="no grade of haze, jpeg in"):
        calibrate.fit_visible(data, "another")


def test_graders_labels_and_models_are_compared(entries: list[Entry]) -> None:
    graded = [e for e in entries if e.mos > 0.3]
    grades = [
        Grade("set", e.path.name, grader, (best - 50 * (e.identity == "p1")) * e.mos)
        for grader, best in (("ann", 90), ("bob", 100))
        for e in graded
    ]
    quality = np.array([math.sqrt(0.5) if e.identity == "p1" else 1 for e in entries])
    scores = {"base": np.array([e.mos for e in entries]) * quality}
    lines = list(compare_undamaged(entries, grades, scores))
    assert lines[0] == "| SRCC with graders | undamaged (5) | degraded (10) |"
    cells = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in lines}
    assert cells["ann, bob"][0].split()[0] == "1.000"
    assert cells["mean grade, label"][0].strip() == ""
    assert float(cells["mean grade, label"][1].split()[0]) < 1
    real = [
        replace(e, mos=math.nan, degradation="", source="wild" if e.mos < 1 else "pristine")
        for e in graded
    ]
    lines = list(compare_undamaged(real, grades, {"base": scores["base"][: len(real)]}))
    assert lines[0] == "| SRCC with graders | all (15) | wild (10) | undamaged (5) |"
    assert "label" not in "".join(lines)


def test_grades_of_degraded_images_are_compared(entries: list[Entry]) -> None:
    degraded = [e for e in entries if e.source == "single"]
    levelled = {e.path.name: [100 * e.mos, 90 * e.mos] for e in degraded[:12]}
    counted = [replace(e, mos=1 - e.mos) for e in entries]
    scores = {"base": np.array([e.mos for e in entries])}
    lines = list(compare_degraded(entries, levelled, scores, counted))
    assert lines[0] == "| 12 degraded images: SRCC with graders of | |"
    cells = dict(line.strip("| ").split(" | ", 1) for line in lines[2:])
    assert cells["label of degradation alone"].startswith("1.000")
    assert cells["label with the photo's faults"].startswith("-1.000")
    assert cells["base"].startswith("1.000")
    assert cells["another grader's grade (12 images)"].startswith("1.000")


def test_the_grades_of_the_repo_are_whole() -> None:
    for path in sorted(grade.GRADES.glob("*.csv")):
        grades = grade.read_grades(path)
        assert len(grades) > 1000
        assert all(0 <= g.value <= 100 for g in grades)
        keys = [(g.set_name, g.file, g.grader) for g in grades]
        assert len(set(keys)) == len(keys), path.name
