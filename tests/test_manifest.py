"""Manifests: the contract's form, the field's forms, and errors that name the line."""

import os
from pathlib import Path

import pytest

from mspt.errors import DataError
from mspt.evaluation.manifest import Entry, read_manifest, select_entries, write_manifest


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    (entry,) = read_manifest(write(tmp_path / "m.csv", "path,mos\nfaces/a b.jpg,0.25\n"))
    assert entry == Entry(path=tmp_path / "faces/a b.jpg", mos=0.25)


def test_columns_may_come_in_any_order_and_number(tmp_path: Path) -> None:
    text = "\ufeffsplit,mos,note,path,severity\nval,1,x,ä.jpg,0.5\n\n"
    (entry,) = read_manifest(write(tmp_path / "m.csv", text))
    assert (entry.path.name, entry.split, entry.mos, entry.severity) == ("ä.jpg", "val", 1, 0.5)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    first = Entry(path=tmp_path / "i/a,b.png", mos=0.1234, source="single", split="train")
    second = Entry(path=tmp_path / "c.png", mos=1, identity="x", degradation="jpeg", severity=0.5)
    entries = [first, second]
    write_manifest(tmp_path / "m.csv", entries)
    assert read_manifest(tmp_path / "m.csv") == entries


def test_what_is_written_through_a_link_leads_to_the_images(tmp_path: Path) -> None:
    (tmp_path / "disk/deep").mkdir(parents=True)
    (tmp_path / "out").symlink_to("disk/deep")
    write(tmp_path / "a.png", "")
    write_manifest(tmp_path / "out/m.csv", [Entry(path=tmp_path / "a.png", mos=0.5)])
    (entry,) = read_manifest(tmp_path / "disk/deep/m.csv")
    assert entry.path.samefile(tmp_path / "a.png")


def test_a_name_in_another_encoding_loses_no_label(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/ph\xe9to/a.png"))
    write_manifest(tmp_path / "m.csv", [Entry(path=odd, mos=0.5)])
    assert b"\nph\xe9to/a.png,0.5," in (tmp_path / "m.csv").read_bytes().replace(b"\r", b"")


def test_vquala_lists_have_no_header_and_may_lack_the_extension(tmp_path: Path) -> None:
    (tmp_path / "face1.png").touch()
    entries = read_manifest(write(tmp_path / "train.csv", "face1,0.5\nface2.jpg,0.75\n"))
    assert [e.path.name for e in entries] == ["face1.png", "face2.jpg"]
    assert [e.mos for e in entries] == [0.5, 0.75]


def test_mapped_scores_of_pseudo_labels_are_taken(tmp_path: Path) -> None:
    text = "Image,raw_score,mapped_score\na.jpg,-3,0.4\n"
    (entry,) = read_manifest(write(tmp_path / "m.csv", text))
    assert entry.mos == 0.4


def test_labels_on_another_scale_are_mapped(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "path,mos\na.jpg,1\nb.jpg,5\nc.jpg,2\n")
    assert [e.mos for e in read_manifest(path, mos_scale=(1, 5))] == [0, 1, 0.25]
    assert [e.mos for e in read_manifest(path, mos_scale=(5, 1))] == [1, 0, 0.75], "lower is better"
    with pytest.raises(DataError, match=r"line 3: mos 5 lies outside the scale 1..4 .*declare"):
        read_manifest(path, mos_scale=(1, 4))


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/face1.png").touch()
    path = write(tmp_path / "train.csv", "face1,0.5\n")
    (entry,) = read_manifest(path, images=tmp_path / "photos")
    assert entry.path == tmp_path / "photos/face1.png"
    with pytest.raises(DataError, match="none: no such folder of images"):
        read_manifest(path, images=tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"m.csv: is empty; expected the header path,mos"),
        ("path,mos\n", r"m.csv: has a header but lists no image"),
        ("file,quality\na.jpg,1\n", r"first line is 'file,quality'; expected a header"),
        ("path,mos\na.jpg,3.5\n", r"line 2: mos 3.5 lies outside the scale 0..1 \(worst..best\)"),
        ("path,mos\na.jpg,nan\n", r"line 2: mos 'nan' is not a number"),
        ("path,mos\na.jpg,0.5\nb.jpg,good\n", r"line 3: mos 'good' is not a number"),
        ("path,mos,split\na.jpg,1\n", r"line 2: 2 fields, but the header names 3"),
        ("path,mos,mos\na.jpg,1,0\n", r"its header names mos twice; rename one"),
        ("path,mos,severity\na.jpg,1,nan\n", r"line 2: severity 'nan' is not a number"),
        ("path,mos\na.jpg,inf\n", r"line 2: mos 'inf' is not a number"),
        ("path,mos,severity\na.jpg,1,much\n", r"line 2: severity 'much' is not a number"),
    ],
)
def test_errors_name_file_line_and_value(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_manifest(write(tmp_path / "m.csv", text))


def test_a_missing_or_binary_file_is_a_manifest_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_manifest(tmp_path / "m.csv")


def test_selection_keeps_order() -> None:
    entries = [
        Entry(path=Path(name), mos=0, source=source, split=split)
        for name, source, split in [("a", "x", "val"), ("b", "y", "val"), ("c", "x", "train")]
    ]
    assert [e.path.name for e in select_entries(entries, split="val")] == ["a", "b"]
    assert [e.path.name for e in select_entries(entries, sources={"x"})] == ["a", "c"]
    assert select_entries(entries, split="test") == []
