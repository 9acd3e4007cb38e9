"""Comparisons of two runs: paired on the same images, sure of what is sure, and no more."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import RunCli

from mspt.errors import DataError
from mspt.evaluation.manifest import Entry
from mspt.evaluation.metrics import srcc
from mspt.evaluation.paired import compare_scores
from mspt.evaluation.predictions import Predictions, read_predictions, write_predictions
from mspt.evaluation.tables import comparison_to_text

MOS = np.random.default_rng(0).random(200)
ENTRIES = [
    Entry(path=Path(f"{i}.png"), mos=float(mos), source="ab"[i % 2], identity=f"id{i % 20}")
    for i, mos in enumerate(MOS)
]
NOISE = np.random.default_rng(1).normal(0, 1, 200)
GOOD = Predictions(ENTRIES, MOS + 0.05 * NOISE)
POOR = Predictions(ENTRIES, MOS + 0.4 * np.random.default_rng(2).normal(0, 1, 200))


def test_a_better_prediction_leads_and_the_interval_says_so() -> None:
    found = compare_scores(POOR, GOOD, resamples=200)
    assert (found.images, found.identities) == (200, 20)
    assert found.srcc.first == srcc(POOR.score, MOS)
    assert found.srcc.second == srcc(GOOD.score, MOS)
    assert found.srcc.gain.value == pytest.approx(found.srcc.second - found.srcc.first)
    assert 0 < found.srcc.gain.low < found.srcc.gain.value < found.srcc.gain.high
    assert found.srcc.is_sure
    assert found.plcc.is_sure
    reverse = compare_scores(GOOD, POOR, resamples=200)
    assert reverse.srcc.gain.low == pytest.approx(-found.srcc.gain.high)


def test_a_prediction_compared_with_itself_differs_by_nothing() -> None:
    gain = compare_scores(GOOD, GOOD, resamples=50).srcc.gain
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)


def test_pairing_sees_what_two_separate_intervals_would_not() -> None:
    """A small lead everywhere is sure, although each SRCC alone is uncertain by far more."""
    first, second = (Predictions(ENTRIES, MOS + share * NOISE) for share in (0.3, 0.28))
    found = compare_scores(first, second, resamples=200).srcc
    assert found.is_sure
    assert found.gain.high - found.gain.low < 0.03


def test_images_may_come_in_another_order() -> None:
    order = np.random.default_rng(3).permutation(200)
    shuffled = Predictions([ENTRIES[i] for i in order], GOOD.score[order])
    expected, found = (compare_scores(POOR, other, resamples=99) for other in (GOOD, shuffled))
    assert found.srcc.second == pytest.approx(expected.srcc.second)
    assert found.plcc.gain.value == pytest.approx(expected.plcc.gain.value)
    assert found.plcc.gain.low == pytest.approx(expected.plcc.gain.low, abs=0.05)


def test_too_few_identities_make_no_claim() -> None:
    few = [replace(entry, identity="one") for entry in ENTRIES]
    found = compare_scores(Predictions(few, POOR.score), Predictions(few, GOOD.score))
    assert not found.srcc.is_sure
    assert "[too few identities to tell]" in comparison_to_text(found, "a", "b")


def test_other_images_are_refused_by_name() -> None:
    other = [Entry(path=Path("new.png"), mos=0.5, source="a"), *ENTRIES[1:]]
    with pytest.raises(DataError, match=r"not evaluated on the same .*only one has \S+\.png"):
        compare_scores(GOOD, Predictions(other, GOOD.score))
    with pytest.raises(DataError, match="2 images are too few to compare"):
        compare_scores(*[Predictions(ENTRIES[:2], GOOD.score[:2])] * 2)


def test_scored_sets_are_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "scores/stage1.csv"
    entries = [Entry(path=tmp_path / "ä b,c.png", mos=0.25, source="s", identity="x")]
    write_predictions(path, Predictions(entries, np.array([np.float32(1 / 3)], dtype=np.float64)))
    found = read_predictions(path)
    assert found.entries[0].path.resolve() == entries[0].path
    assert np.float32(found.score[0]) == np.float32(1 / 3), "no digit of a float32 is lost"
    path.write_text("path,mos\na,1\n")
    with pytest.raises(DataError, match=r"stage1.csv: is no set .* \(no column 'source'\)"):
        read_predictions(path)
    write_predictions(path, Predictions(entries, np.array([np.nan])))
    with pytest.raises(DataError, match=r"stage1.csv: is no set .* \(a score or mos is no number"):
        read_predictions(path)
    with pytest.raises(DataError, match="gone.csv: cannot be read: No such file"):
        read_predictions(tmp_path / "gone.csv")


def test_the_command_finds_runs_by_any_name(run_cli: RunCli, tmp_path: Path) -> None:
    for name, scored in (("poor", POOR), ("good", GOOD)):
        write_predictions(tmp_path / f"out/{name}/scores/stage2.csv", POOR)
        write_predictions(tmp_path / f"out/{name}/scores/stage10.csv", scored)
    (tmp_path / "good.toml").write_text('name = "good"\n')
    done = run_cli("compare", "out/poor", "good.toml")
    assert done.returncode == 0, done.stderr
    assert "200 images of 20 identities" in done.stdout
    assert "a difference" in done.stdout
    stages = run_cli("compare", "out/good/scores/stage2.csv", "out/good", "--json")
    assert json.loads(stages.stdout)["srcc"]["gain"]["low"] > 0
    missing = run_cli("compare", "out/poor", "out/none")
    assert missing.returncode == 2
    assert "error: out/none: no scores in out/none/scores; train the run first" in missing.stderr
