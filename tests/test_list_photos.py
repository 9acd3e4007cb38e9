"""runs/list_photos.py: which photos are listed, and what they are called."""

import sys
from pathlib import Path

import pytest
from conftest import ROOT

from mspt.evaluation.manifest import read_manifest

sys.path.insert(0, str(ROOT / "runs"))

import list_photos

ROWS = (
    "file,set,usage,split,identity",
    "wild/a b.jpg,wild,permissive,train,ann",
    "wild/c.jpg,wild,noncommercial,train,bob",
    "pristine/d.jpg,pristine,permissive,train,eve",
    "pristine/e.jpg,pristine,permissive,test,dan",
)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    path = tmp_path / "faces" / "manifest.csv"
    path.parent.mkdir()
    path.write_text("\n".join(ROWS), encoding="utf-8")
    return path


def test_photos_that_meet_all_conditions_are_listed(faces: Path, tmp_path: Path) -> None:
    wanted = {"usage": "permissive", "split": "train"}
    assert list_photos.write_list(faces, tmp_path / "out" / "m.csv", wanted, (), "") == 2
    listed = read_manifest(tmp_path / "out" / "m.csv", labels="optional")
    assert [e.path.resolve() for e in listed] == [
        faces.parent / "wild/a b.jpg",
        faces.parent / "pristine/d.jpg",
    ]
    assert [(e.source, e.split, e.identity) for e in listed] == [
        ("wild", "train", "ann"),
        ("pristine", "train", "eve"),
    ]


def test_photos_of_a_set_are_left_out_and_the_source_has_a_name(
    faces: Path, tmp_path: Path
) -> None:
    assert list_photos.write_list(faces, tmp_path / "m.csv", {"split": "train"}, {"d"}, "real") == 2
    listed = read_manifest(tmp_path / "m.csv", labels="optional")
    assert {e.source for e in listed} == {"real"}
    assert [e.path.name for e in listed] == ["a b.jpg", "c.jpg"]
