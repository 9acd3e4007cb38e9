"""Photos for blind eyes: what is drawn, how grades are read, and what they do to labels."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from mspt.evaluation.manifest import Entry

sys.path.insert(0, str(ROOT / "benchmarks"))

import blind_grades


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    """Return five people: an undamaged photo each, and versions of mos .9, .6 and .3."""
    made = []
    for person in range(5):
        for mos in (1.0, 0.9, 0.6, 0.3):
            path = tmp_path / f"p{person}_{round(10 * (1 - mos)):02d}.png"
            Image.new("RGB", (40, 40), (40 * person, round(200 * mos), 90)).save(path)
            source = "pristine" if mos == 1 else "single"
            made.append(Entry(path=path, mos=mos, identity=f"p{person}", source=source))
    return made


def test_all_undamaged_photos_and_one_damaged_version_each_are_drawn(entries: list[Entry]) -> None:
    drawn = blind_grades.draw_photos(entries, seed=1)
    assert [sum(e.source == s for e in drawn) for s in ("pristine", "single")] == [5, 5]
    assert {e.mos for e in drawn} <= {1.0, 0.9, 0.6}
    assert len({e.identity for e in drawn if e.source == "single"}) == 5
    assert drawn == blind_grades.draw_photos(entries, seed=1)
    assert drawn != sorted(drawn, key=lambda e: e.path)


def test_damaged_versions_may_be_fewer(entries: list[Entry]) -> None:
    drawn = blind_grades.draw_photos(entries, seed=1, damaged_every=3)
    assert [sum(e.source == s for e in drawn) for s in ("pristine", "single")] == [5, 2]


@pytest.fixture
def grades(entries: list[Entry], tmp_path: Path) -> blind_grades.Grades:
    """Return what ann and bob say: 90 and more, but p1's photo has faults."""
    out = tmp_path / "out"
    blind_grades.write_photos(blind_grades.draw_photos(entries, seed=0), out)
    numbers = {row["file"]: row["photo"] for row in blind_grades.read_csv(out / "key.csv")}
    for viewer, best in (("ann", 90), ("bob", 100)):
        rows = [
            (numbers[e.path.name], (best - 50 * (e.identity == "p1")) * e.mos)
            for e in entries
            if e.path.name in numbers
        ]
        blind_grades.write_csv(tmp_path / f"{viewer}.csv", ("photo", "grade"), rows)
    viewers = [tmp_path / "ann.csv", tmp_path / "bob.csv"]
    blind_grades.collect_grades(out, viewers, tmp_path / "grades" / "set.csv")
    return blind_grades.read_grades(tmp_path / "grades" / "set.csv")


def test_sheets_show_every_photo_and_grades_come_back(
    grades: blind_grades.Grades, entries: list[Entry], tmp_path: Path
) -> None:
    assert len(list((tmp_path / "out").glob("grades-*.png"))) == 2
    assert list(grades) == ["ann", "bob"]
    assert len(grades["ann"]) == 10
    assert blind_grades.mean_grades(grades)[entries[4].path.name] == pytest.approx(45)


@pytest.mark.parametrize("bad", ["", "101", "-1", "good", "nan"])
def test_a_grade_that_is_none_is_named(tmp_path: Path, bad: str) -> None:
    (tmp_path / "key.csv").write_text("photo,file\n1,a.png\n", encoding="utf-8")
    (tmp_path / "ann.csv").write_text(f"photo,grade\n1,{bad}\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"ann\.csv: photo 1 has grade .*write 0 to 100"):
        blind_grades.collect_grades(tmp_path, [tmp_path / "ann.csv"], tmp_path / "all.csv")
    assert not (tmp_path / "all.csv").exists()


def test_faults_of_a_photo_lower_all_its_labels(
    grades: blind_grades.Grades, entries: list[Entry]
) -> None:
    counted = blind_grades.count_faults(entries, grades)
    root = math.sqrt(45 / 90)  # of the quality of p1's photo
    assert [e.mos for e in counted[:4]] == [1.0, 0.9, 0.6, 0.3]
    assert [e.mos for e in counted[4:8]] == pytest.approx(
        [root, 0.9 * root, 0.6 * root, 0.3 * root], abs=1e-4
    )


def test_a_person_may_have_several_photos(
    grades: blind_grades.Grades, entries: list[Entry]
) -> None:
    same = [replace(e, identity="one") for e in entries]
    mos = [e.mos for e in blind_grades.count_faults(entries, grades)]
    assert [e.mos for e in blind_grades.count_faults(same, grades)] == mos


def test_a_key_in_use_is_kept_and_viewers_have_names(
    grades: blind_grades.Grades, entries: list[Entry], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=r"key\.csv: exists"):
        blind_grades.write_photos(entries, tmp_path / "out")
    twice = [tmp_path / "ann.csv"] * 2
    with pytest.raises(SystemExit, match="name each file by its viewer"):
        blind_grades.collect_grades(tmp_path / "out", twice, tmp_path / "all.csv")


def test_grades_of_another_set_are_refused(
    grades: blind_grades.Grades, entries: list[Entry]
) -> None:
    stranger = Entry(path=Path("p9_00.png"), mos=1, identity="p9", source="pristine")
    with pytest.raises(SystemExit, match=r"p9_00\.png: no grade of it undamaged"):
        blind_grades.count_faults([*entries, stranger], grades)


def test_photos_as_people_took_them_are_compared_by_source(
    grades: blind_grades.Grades, entries: list[Entry]
) -> None:
    graded = [e for e in entries if e.path.name in grades["ann"]]
    scores = {"base": np.array([e.mos for e in graded])}
    real = [replace(e, mos=math.nan, source="wild" if e.mos < 1 else "pristine") for e in graded]
    assert len(blind_grades.draw_photos(real, seed=0)) == len(real) == 10
    lines = list(blind_grades.compare_graded(real, grades, scores))
    assert lines[0] == "| SRCC of | all (10) | wild (5) | pristine (5) |"
    assert lines[-1].startswith("| mean grade, base | 0.")
    assert lines[-1].endswith("|  |"), "scores of the undamaged photos are equal here"
    assert "label" not in "".join(lines)


def test_gains_of_models_are_paired(grades: blind_grades.Grades, entries: list[Entry]) -> None:
    scores = {"base": np.array([e.mos for e in entries])}
    scores["base-6"] = -scores["base"]
    line = list(blind_grades.compare_graded(entries, grades, scores))[-1]
    name, _undamaged, damaged = (cell.strip() for cell in line.strip("|").split("|"))
    base = list(blind_grades.compare_graded(entries, grades, {"base": scores["base"]}))[-1]
    assert name == "base over base-6"
    same = blind_grades.Graded(
        entries, {"a": scores["base"], "b": scores["base"], "c": scores["base"]}
    )
    assert same.gain("a", "b", "c") == "+0.000 [+0.000, +0.000]", "paired: equals never differ"
    assert float(damaged.split()[0]) == pytest.approx(
        2 * float(base.split("|")[3].split()[0]), abs=2e-3
    )


def test_more_viewers_grade_the_same_photos(
    grades: blind_grades.Grades, entries: list[Entry], tmp_path: Path
) -> None:
    photos = blind_grades.photos_again(entries, grades, seed=3)
    assert sorted(p.path.name for p in photos) == sorted(grades["ann"])
    out, collected = tmp_path / "again", tmp_path / "grades" / "set.csv"
    blind_grades.write_photos(photos, out)
    rows = [(row["photo"], "70") for row in blind_grades.read_csv(out / "key.csv")]
    blind_grades.write_csv(tmp_path / "cid.csv", ("photo", "grade"), rows)
    blind_grades.collect_grades(out, [tmp_path / "cid.csv"], collected, again=True)
    after = blind_grades.read_grades(collected)
    assert list(after) == ["ann", "bob", "cid"]
    assert after["ann"] == grades["ann"]
    assert set(after["cid"].values()) == {70}
    with pytest.raises(SystemExit, match=r"set\.csv: holds grades; --again adds viewers"):
        blind_grades.collect_grades(out, [tmp_path / "cid.csv"], collected)
    with pytest.raises(SystemExit, match=r"new\.csv: is not there"):
        blind_grades.collect_grades(out, [tmp_path / "cid.csv"], tmp_path / "new.csv", again=True)
    with pytest.raises(SystemExit, match=r"\.png: graded before, but not in this set"):
        blind_grades.photos_again(entries[:3], grades, seed=3)
    with pytest.raises(SystemExit, match="ann, bob, cid, cid: name each file by its viewer"):
        blind_grades.collect_grades(out, [tmp_path / "cid.csv"], collected, again=True)


def test_viewers_labels_and_models_are_compared(
    grades: blind_grades.Grades, entries: list[Entry]
) -> None:
    quality = np.array([math.sqrt(0.5) if e.identity == "p1" else 1 for e in entries])
    scores = {"base": np.array([e.mos for e in entries]) * quality}
    lines = list(blind_grades.compare_graded(entries, grades, scores))
    assert lines[0] == "| SRCC of | undamaged (5) | damaged (5) |"
    cells = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in lines}
    assert [cell.split()[0] for cell in cells["ann, bob"]] == ["1.000", "1.000"]
    assert cells["mean grade, label"][0].strip() == ""
    assert float(cells["mean grade, label"][1].split()[0]) < 1
    assert cells["mean grade, label with the photo's faults"][1].split()[0] == "1.000"
    line = list(blind_grades.compare_labels(entries, grades, scores))[-1]
    as_they_are, with_faults = (float(cell.split()[0]) for cell in line.split("|")[2:-1])
    assert as_they_are < with_faults == 1
