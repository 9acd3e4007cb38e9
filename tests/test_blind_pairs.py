"""Pairs of equal labels for blind eyes: what is paired, and how answers are counted."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from mspt.evaluation.manifest import Entry, write_manifest

sys.path.insert(0, str(ROOT / "benchmarks"))

import blind_pairs

KINDS = ("haze", "jpeg", "gaussian_blur", "chained", "chained")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A set as `mspt synthesize` leaves it: six people, five images each, chains of two sorts."""
    entries, records = [], []
    for person in range(6):
        for place, kind in enumerate(KINDS):
            path = tmp_path / f"{person}-{place}.png"
            Image.new("RGB", (32, 32), (40 * person, 50 * place, 90)).save(path)
            chain = {"chain": ["haze", "jpeg"] if place == 3 else ["jpeg", "webp"]}
            mos = 0.4 + 0.01 * place if person else 0.95  # the first person: none to compare
            entries.append(
                Entry(path=path, mos=mos, identity=str(person), degradation=kind, source="single")
            )
            records.append(
                {"path": path.name, "source": "single", "degradation": kind}
                | (chain if kind == "chained" else {})
            )
    write_manifest(tmp_path / "manifest.csv", entries)
    lines = [{"version": 3}, {"photo": "all", "images": records}]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_a_pair_is_of_one_label_and_one_person_and_two_kinds(data: Path) -> None:
    pairs = blind_pairs.draw_pairs(data, per_group=3, seed=0)
    assert {pair.group for pair in pairs} == {"haze", "chained", "control"}
    shown = [entry.path for pair in pairs for entry in pair.images]
    assert len(shown) == len(set(shown))
    for pair in pairs:
        assert abs(pair.questioned.mos - pair.partner.mos) <= blind_pairs.LARGEST_GAP
        assert pair.questioned.degradation != pair.partner.degradation
        assert not pair.partner.path.stem.endswith(("-0", "-3"))  # haze, and the chain with it
        assert pair.questioned.mos < 0.9
        assert pair.images[pair.side == "right"] is pair.questioned
    same_person = [pair.questioned.group == pair.partner.group for pair in pairs]
    assert np.mean(same_person) > 0.5


def test_pairs_are_the_same_for_the_same_seed(data: Path) -> None:
    first, again, other = (blind_pairs.draw_pairs(data, 3, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_sheets_key_and_answers_are_written(data: Path, tmp_path: Path) -> None:
    pairs = blind_pairs.draw_pairs(data, 2, 0)
    out = tmp_path / "out"
    blind_pairs.write_pairs(pairs, out)
    sheets = sorted(out.glob("pairs-*.png"))
    assert len(sheets) == -(-len(pairs) // blind_pairs.PAIRS_PER_SHEET)
    sheet = np.asarray(Image.open(sheets[0]))
    left = blind_pairs.read_rgb(pairs[0].images[0].path)[0, 0]
    assert (sheet[blind_pairs.GAP_PX + 200, 200] == left).all()
    assert blind_pairs.count_answers(out) == {}  # nobody has looked yet
    with pytest.raises(SystemExit, match=r"answers.csv: exists and may hold answers"):
        blind_pairs.write_pairs(pairs, out)


def test_a_set_made_by_others_is_refused(data: Path) -> None:
    (data / "records.jsonl").unlink()
    with pytest.raises(SystemExit, match="no records.jsonl; give a set that `mspt synthesize`"):
        blind_pairs.draw_pairs(data, 2, 0)


def answer(out: Path, answers: list[str]) -> None:
    with (out / "answers.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("pair", "worse"), *enumerate(answers, 1)])


def test_answers_are_counted_by_kind(tmp_path: Path) -> None:
    key = [(1, "haze", "left"), (2, "haze", "right"), (3, "haze", "left"), (4, "control", "left")]
    with (tmp_path / "key.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("pair", "group", "side"), *key])
    answer(tmp_path, ["left", "left", "same", " Right "])
    assert blind_pairs.count_answers(tmp_path) == {
        "haze": {"worse": 1, "better": 1, "same": 1},
        "control": {"worse": 0, "better": 1, "same": 0},
    }
    answer(tmp_path, ["left", "both", "same", "same"])
    with pytest.raises(SystemExit, match=r"answers.csv: pair 2: 'both'; write left, right or same"):
        blind_pairs.count_answers(tmp_path)
    answer(tmp_path, ["left"] * 5)
    with pytest.raises(SystemExit, match=r"answers.csv: pair 5 is not in key.csv"):
        blind_pairs.count_answers(tmp_path)


def test_the_table_gives_shares_of_those_decided(capsys: pytest.CaptureFixture[str]) -> None:
    blind_pairs.print_counts(
        {
            "haze": {"worse": 5, "better": 5, "same": 4},
            "control": {"worse": 0, "better": 0, "same": 1},
        }
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [
        "| control | 0 | 0 | 1 | - |",
        "| haze | 5 | 5 | 4 | 0.50 [0.24, 0.76] |",
    ]
