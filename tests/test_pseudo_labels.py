"""Pseudo-labels: on the scale of the known ones, averaged over models, bad images named."""

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import FACES, RunCli

from mspt.errors import DataError
from mspt.evaluation.manifest import Entry, read_manifest
from mspt.evaluation.metrics import srcc
from mspt.evaluation.pseudo_labels import label_entries
from mspt.inference.scorer import Scorer

PICTURES = sorted(FACES.glob("*.png"))


def half_scale(scorer: Scorer) -> list[Entry]:
    """The example faces; all but the last have a mos that is half the model's score, plus .2."""
    scores = [scorer.score(path).score for path in PICTURES]
    known = [Entry(path=p, mos=0.2 + s / 2) for p, s in zip(PICTURES, scores, strict=True)]
    return [*known[:-1], Entry(path=PICTURES[-1], mos=math.nan)]


def test_labels_are_brought_to_the_scale_of_the_known_ones(scorer: Scorer) -> None:
    entries = half_scale(scorer)
    found = label_entries(entries, [scorer])
    assert found.labelled == len(PICTURES) - 1 >= 10
    assert [e.mos for e in found.entries[:-1]] == [e.mos for e in entries[:-1]], "known ones stay"
    assert {entry.source for entry in found.entries[:-1]} == {"labelled"}
    last = found.entries[-1]
    assert last.mos == pytest.approx(0.2 + scorer.score(PICTURES[-1]).score / 2, abs=0.03)
    assert last.source == "pseudo"
    assert found.srcc > 0.95


def test_without_known_labels_the_scores_themselves_are_given(scorer: Scorer) -> None:
    entries = [Entry(path=path, mos=math.nan, source="wild") for path in PICTURES[:3]]
    found = label_entries(entries, [scorer, scorer])
    expected = [round(scorer.score(path).score, 4) for path in PICTURES[:3]]
    assert [entry.mos for entry in found.entries] == expected
    assert {entry.source for entry in found.entries} == {"wild"}
    assert math.isnan(found.srcc)


def test_models_are_averaged(scorer: Scorer) -> None:
    class Opposite:
        def score_many(self, paths):
            for path in paths:
                result = scorer.score(path)
                object.__setattr__(result, "score", 1 - result.score)
                yield result

    entries = [Entry(path=path, mos=math.nan) for path in PICTURES[:3]]
    found = label_entries(entries, [scorer, Opposite()])
    assert [entry.mos for entry in found.entries] == pytest.approx([0.5] * 3)


def test_bad_images_are_left_out_and_named(scorer: Scorer, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    entries = [Entry(path=path, mos=math.nan) for path in (tmp_path / "empty.jpg", *PICTURES[:2])]
    found = label_entries(entries, [scorer])
    assert [(e.path.name, reason) for e, reason in found.failed] == [
        ("empty.jpg", "the file is empty")
    ]
    assert len(found.entries) == 2


def test_what_makes_no_sense_is_refused(scorer: Scorer) -> None:
    entries = half_scale(scorer)
    with pytest.raises(DataError, match="all 10 images have a mos already; there is"):
        label_entries(entries[:-1], [scorer])
    with pytest.raises(DataError, match="3 images have a mos, but the fit needs 10"):
        label_entries(entries[-4:], [scorer])


def test_nothing_is_scored_before_a_refusal(tmp_path: Path) -> None:
    class NoScorer:
        def score_many(self, paths):
            raise AssertionError("scored in vain")

    with pytest.raises(DataError, match="nothing to label"):
        label_entries([Entry(path=tmp_path / "a.png", mos=1)], [NoScorer()])


def test_if_no_image_can_be_scored_one_is_named(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of 1 images can be scored; .*gone.png: "):
        label_entries([Entry(path=tmp_path / "gone.png", mos=math.nan)], [scorer])


def test_failures_never_change_the_scale(scorer: Scorer, tmp_path: Path) -> None:
    gone = [Entry(path=tmp_path / f"{i}.png", mos=i / 20) for i in range(12)]
    unlabelled = Entry(path=PICTURES[0], mos=math.nan)
    with pytest.raises(DataError, match="none of the images that have a mos can be scored"):
        label_entries([*gone, unlabelled], [scorer])
    entries = half_scale(scorer)
    lost = Entry(path=tmp_path / "gone.png", mos=math.nan)
    with pytest.raises(DataError, match="none of the images that lack a mos can be scored"):
        label_entries([*entries[:-1], lost], [scorer])


def test_the_command_writes_a_manifest(run_cli: RunCli, tmp_path: Path) -> None:
    lines = [f"{path},{i + 1 if i < 10 else ''}" for i, path in enumerate(PICTURES)]
    (tmp_path / "m.csv").write_text("path,mos\n" + "\n".join(lines) + "\n")
    done = run_cli("label", "m.csv", "--model", "base", "--mos-scale", "0,20", "-o", "out.csv")
    assert done.returncode == 0, done.stderr
    assert f"1 of {len(PICTURES)} images labelled by base: out.csv" in done.stdout
    assert "on the 10 images with a mos, which the logistic was fitted on: SRCC" in done.stdout
    entries = read_manifest(tmp_path / "out.csv")
    assert [entry.mos for entry in entries[:10]] == [(i + 1) / 20 for i in range(10)]
    assert not np.isnan(srcc(np.array([e.mos for e in entries]), np.arange(len(entries)) * 1.0))
    wrong = run_cli("label", "m.csv", "--mos-scale", "5", "-o", "out.csv")
    assert "--mos-scale '5' is not of the form WORST,BEST" in wrong.stderr


def test_labels_are_not_written_over_their_input(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"path,mos,rater\n{PICTURES[0]},,bob\n")
    before = (tmp_path / "m.csv").read_text()
    done = run_cli("label", "m.csv", "-o", "./m.csv")
    assert done.returncode == 2
    assert "m.csv is the input: labels on their own scale, further columns" in done.stderr
    assert (tmp_path / "m.csv").read_text() == before
    (tmp_path / "hand.csv").write_text("path,mos\na.png,0.8\n")
    done = run_cli("label", "m.csv", "-o", "hand.csv")
    assert (done.returncode, "hand.csv exists; name another" in done.stderr) == (2, True)
    assert (tmp_path / "hand.csv").read_text() == "path,mos\na.png,0.8\n"
    for output, said in (("no/x.csv", "there is no folder no; make it"), ("x.txt", "ends in .csv")):
        done = run_cli("label", "m.csv", "-o", output)
        assert done.returncode == 2
        assert said in done.stderr


def test_labels_can_be_left_unread(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"path,mos\n{PICTURES[0]},4\n")
    (entry,) = read_manifest(tmp_path / "m.csv", labels="ignored")
    assert math.isnan(entry.mos)


def test_a_list_of_paths_alone_can_be_labelled(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"path\n{PICTURES[0]}\n")
    (entry,) = read_manifest(tmp_path / "m.csv", labels="optional")
    assert math.isnan(entry.mos)
    with pytest.raises(DataError, match="expected a header with path,mos"):
        read_manifest(tmp_path / "m.csv")
