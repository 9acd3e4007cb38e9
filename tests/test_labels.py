"""Where labels are made: what graders are asked, how grades are read, what labels learn of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labels import apply, calibrate, grade
from labels.apply import LABEL_OF_GRADE, label_of_grade
from labels.grade import Asked, Grade
from PIL import Image

from mspt.evaluation.manifest import Entry, read_manifest, write_manifest
from mspt.synthesis.mos import VisibleLoss, stored_calibration
from mspt.synthesis.reference_metrics import DISTANCES
from mspt.synthesis.synthesize import photo_name


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
            row["photo"] for row in grade.read_csv(out / "key.csv") if row["grader"] == grader.name
        ]
        rows = [(number, value(int(number))) for number in numbers]
        grade.write_csv(grader / "grades.csv", ("photo", "grade"), rows)


def test_every_photo_is_dealt_once_a_pass(photos: list[Asked], tmp_path: Path) -> None:
    out = tmp_path / "asked"
    grade.deal(photos, out, graders=2, passes=3, seed=0)
    key = grade.read_csv(out / "key.csv")
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
        assert part.mean() == pytest.approx(np.mean([g.value for g in grades]))
        assert part.std() == pytest.approx(np.std([g.value for g in grades]))
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


GRADES = {f"p{person}": 55.0 if person == 1 else 100.0 for person in range(5)}


def test_faults_of_a_photo_lower_all_its_labels(entries: list[Entry]) -> None:
    own = label_of_grade(55)  # of p1's photo
    mos = [e.mos for e in apply.count_faults(entries, GRADES)]
    assert mos[:4] == [1.0, 0.9, 0.6, 0.3]
    assert mos[4] == pytest.approx(own, abs=1e-4)
    for label, left in zip(mos[5:8], (0.9, 0.6, 0.3), strict=True):
        assert max(0, own + left - 1) <= label < min(own, left)
    assert mos[4] - mos[5] < 0.05 < mos[0] - mos[1], "beside large faults, small damage is small"
    stranger = Entry(path=Path("p9_00.png"), mos=1, identity="p9", source="pristine")
    with pytest.raises(SystemExit, match=r"p9_00\.png: no grade of its photo"):
        apply.count_faults([*entries, stranger], GRADES)


def test_losses_add_up_to_no_more_than_all() -> None:
    own, seen = (v.ravel() for v in np.meshgrid(*[np.linspace(0, 1, 11)] * 2))
    total = apply.add_losses(own, seen)
    assert (total >= np.maximum(own, seen) - 1e-12).all()
    assert (total <= np.minimum(1, own + seen) + 1e-12).all()
    assert total[own == 0] == pytest.approx(seen[own == 0])


def test_a_set_made_of_graded_photos_is_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faces.csv").write_text("set,file,grader,grade\nfaces,wild/a.jpg,ann,70\n")
    monkeypatch.setattr(apply, "FACES", tmp_path / "faces.csv")
    data = tmp_path / "set"
    data.mkdir()
    photo = photo_name("wild/a.jpg")
    write_manifest(data / "manifest.csv", [Entry(path=data / f"{photo}_00.png", mos=1)])
    monkeypatch.setattr("sys.argv", ["apply", str(data)])
    apply.main()
    (found,) = read_manifest(data / "graded.csv")
    assert found.mos == pytest.approx(label_of_grade(70), abs=1e-4)


def test_labels_rise_with_grades_and_graded_images_get_the_mean(entries: list[Entry]) -> None:
    marks = [label_of_grade(g) for g in range(101)]
    assert marks == sorted(marks)
    assert 0 <= marks[0] < 0.05
    assert marks[100] == 1
    blended = apply.blend(entries, {entries[i].path.name: 55.0 for i in (0, 1)})
    assert blended[1].mos == pytest.approx((0.9 + label_of_grade(55)) / 2, abs=1e-4)
    assert [e for i, e in enumerate(blended) if i != 1] == entries[:1] + entries[2:]


def test_a_deal_that_was_graded_mildly_comes_to_the_scale_of_the_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = {f"{n}.jpg": grade for n, grade in enumerate((30, 50, 70, 90))}
    lines = [f"faces,{photo},ann,{grade}" for photo, grade in photos.items()]
    (tmp_path / "faces.csv").write_text("\n".join(["set,file,grader,grade", *lines]))
    milder = {photo_name(p): 100 * (g / 100) ** 0.8 for p, g in photos.items()}
    lines = [f"set,{photo}_00.png,bob,{grade}" for photo, grade in milder.items()]
    lines += [f"set,{next(iter(milder))}_01.png,bob,40", "other,x_01.png,bob,40"]
    (tmp_path / "real.csv").write_text("\n".join(["set,file,grader,grade", *lines]))
    (tmp_path / "none.csv").write_text("set,file,grader,grade\nold,y_01.png,eve,1\nold,z,eve,2\n")
    monkeypatch.setattr(apply, "FACES", tmp_path / "faces.csv")
    monkeypatch.setattr(apply, "DAMAGED", tmp_path / "none.csv")
    monkeypatch.setattr(apply, "DAMAGED_REAL", tmp_path / "real.csv")
    found = apply.grades_of_images("set")
    for photo, given in photos.items():
        assert found[f"{photo_name(photo)}_00.png"] == pytest.approx(given, abs=0.2)
    assert found[f"{photo_name('0.jpg')}_01.png"] == pytest.approx(100 * 0.4**1.25, abs=0.2)
    assert apply.grades_of_images("other") == {"x_01.png": pytest.approx(40)}, "no photo to go by"


def test_the_constants_that_made_the_labels_are_found() -> None:
    rng = np.random.default_rng(0)
    true = {
        "haze": VisibleLoss(0.5, 1.3),
        "jpeg": VisibleLoss(0.9, 0.8),
        "blur": VisibleLoss(1.0, 0.6),
    }
    kinds = [[k] for k in true for _ in range(200)] + [["haze", "jpeg"]] * 100
    losses, own = rng.uniform(0.05, 0.95, len(kinds)), rng.uniform(0, 0.2, len(kinds))
    seen = [
        VisibleLoss.mean(true[k] for k in of).seen(loss)
        for of, loss in zip(kinds, losses, strict=True)
    ]
    labels = 1 - apply.add_losses(own, np.array(seen))
    before = {"jpeg": VisibleLoss(0.5, 1.0), "never graded": VisibleLoss(0.7, 1.2)}
    found = calibrate.fit_constants(losses, kinds, own, labels, before)
    assert found.keys() == {*true, "never graded"}
    assert found["never graded"] == before["never graded"]
    for kind, visible in true.items():
        assert tuple(found[kind]) == pytest.approx(visible, abs=0.06)


def test_a_set_is_fitted_by_its_grades_and_its_photos_own_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two photos, the second with faults of its own; haze, JPEG and a chain of both."""
    data = tmp_path / "set"
    data.mkdir()
    calibration = replace(stored_calibration(), sight={})
    true = {"haze": VisibleLoss(0.6, 1.0), "jpeg": VisibleLoss(0.9, 1.0)}
    records, entries, lines = [], [], ["set,file,grader,grade"]
    for listed, grade_of_photo in (("p0.jpg", 100), ("p1.jpg", 70)):
        photo, own = photo_name(listed), 1 - label_of_grade(grade_of_photo)
        entries.append(Entry(path=data / f"{photo}_00.png", mos=1, source="pristine"))
        for number in range(1, 61):
            kinds = [["haze"], ["jpeg"], ["haze", "jpeg"]][number % 3]
            distances = dict.fromkeys(DISTANCES, 0.004 * number)
            name = f"{photo}_{number:02d}.png"
            record = {"path": name, "source": "single", "degradation": kinds[0]}
            records.append(record | {"chain": kinds * (len(kinds) > 1), "distances": distances})
            entries.append(Entry(path=data / name, mos=0.5, degradation=kinds[0]))
            loss = calibration.loss(distances)
            seen = VisibleLoss.mean(true[k] for k in kinds).seen(loss)
            mos = 1 - apply.add_losses(np.array(own), np.array(seen))
            marks = np.interp(mos, *zip(*((m, g) for g, m in LABEL_OF_GRADE), strict=True))
            lines.append(f"set,{name},ann,{marks}")
    journal = [{"version": 3}, {"images": records}]
    (data / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in journal))
    write_manifest(data / "manifest.csv", entries)
    (tmp_path / "damaged.csv").write_text("\n".join(lines))
    (tmp_path / "faces.csv").write_text(
        "set,file,grader,grade\nfaces,p0.jpg,ann,100\nfaces,p1.jpg,ann,70\n"
    )
    monkeypatch.setattr(apply, "DAMAGED", tmp_path / "damaged.csv")
    monkeypatch.setattr(apply, "FACES", tmp_path / "faces.csv")

    def as_given(grades: list[Grade], set_name: str) -> dict[str, list[float]]:
        return {g.file: [g.value] for g in grades if g.set_name == set_name}

    monkeypatch.setattr(apply, "level", as_given)
    found = calibrate.fit_visible(data, "set")
    assert found.keys() == stored_calibration().sight.keys()
    for kind, visible in true.items():
        assert tuple(found[kind]) == pytest.approx(visible, abs=0.08)
    assert found["banding"] == stored_calibration().sight["banding"]
    with pytest.raises(SystemExit, match="no grade of an image in"):
        calibrate.fit_visible(data, "another")


def test_the_grades_of_the_repo_are_whole() -> None:
    for path in sorted(grade.GRADES.glob("*.csv")):
        grades = grade.read_grades(path)
        assert len(grades) > 500
        assert all(0 <= g.value <= 100 for g in grades)
        keys = [(g.set_name, g.file, g.grader) for g in grades]
        assert len(set(keys)) == len(keys), path.name
