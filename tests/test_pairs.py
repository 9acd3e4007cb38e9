"""Pairs of photos that graders compare: sides by chance, habits refused, votes counted."""

from pathlib import Path

import numpy as np
import pytest
from benchmarks.evidence import mild, pairs
from labels.grade import read_csv
from PIL import Image

from mspt.arrays import RGB
from mspt.image.preprocess import resize_rgb

SIDE, CAPTION = mild.SIDE_PX, pairs.CAPTION_PX
Row = dict[str, str]


@pytest.fixture
def asked(face: RGB, tmp_path: Path) -> Path:
    photos = {f"{n}.jpg": np.roll(resize_rgb(face, SIDE, SIDE), 9 * n, axis=0) for n in range(2)}
    out = tmp_path / "asked"
    assert pairs.deal({"test": photos}, out, graders=2, passes=2, seed=0) == 6
    return out


def key_of(asked: Path) -> list[Row]:
    return read_csv(asked / "key.csv")


def answer(asked: Path, say: dict[str, str]) -> None:
    """Fill all lists: what to say of each kind of damage, photo or damaged or same."""
    for grader in {row["grader"] for row in key_of(asked)}:
        lines = ["pair,better"]
        for row in key_of(asked):
            if row["grader"] == grader:
                better = say[row["damage"]]
                side = "left" if better == row["left"] else "right"
                lines.append(f"{row['pair']},{'same' if better == pairs.SAME else side}")
        (asked / grader / "answers.csv").write_text("\n".join(lines), encoding="utf-8")


def test_a_sheet_shows_photo_and_damage_on_the_sides_that_the_key_names(asked: Path) -> None:
    sides = set()
    for row in key_of(asked):
        sheet = np.asarray(Image.open(asked / row["grader"] / f"pair{int(row['pair']):03d}.png"))
        left, right = sheet[CAPTION:, :SIDE], sheet[CAPTION:, -SIDE:]
        photo, damaged = (left, right) if row["left"] == pairs.PHOTO else (right, left)
        detail = [float(np.abs(np.diff(x.astype(float), axis=0)).mean()) for x in (photo, damaged)]
        assert (detail[0] > detail[1]) == (row["damage"] == "320 px"), row
        sides.add(row["left"])
    assert sides == {pairs.PHOTO, pairs.DAMAGED}


def test_a_deal_that_graders_may_be_at_is_kept(asked: Path) -> None:
    with pytest.raises(SystemExit, match="name another folder"):
        pairs.deal({}, asked, graders=1, passes=1, seed=0)


def test_most_votes_decide_and_a_tie_is_no_difference(asked: Path, tmp_path: Path) -> None:
    said = {"over-sharpened": "damaged", "noise sd 2": "same", "320 px": "photo"}
    answer(asked, said)
    answers = tmp_path / "pairs.csv"
    assert pairs.collect(asked, answers) == 12
    told = pairs.verdicts(answers, "test")
    assert {kind: set(of.values()) for kind, of in told.items()} == {
        k: {v} for k, v in said.items()
    }
    assert pairs.agreement(answers, "test") == dict.fromkeys(said, 1)
    lines = answers.read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if "320 px" in line)
    lines[first] = lines[first].replace(",photo", ",damaged")
    answers.write_text("\n".join(lines), encoding="utf-8")
    assert sorted(pairs.verdicts(answers, "test")["320 px"].values()) == ["photo", "same"]
    assert pairs.agreement(answers, "test")["320 px"] == 0.5


def test_the_table_counts_raised_photos_among_those_that_damage_made_worse() -> None:
    files = ["a", "b", "c", "d"]
    told = {
        k: dict(zip(files, ["photo", "photo", "damaged", "same"], strict=True)) for k in pairs.KINDS
    }
    changes = {kind: np.array([0.02, -0.1, 0.3, 0.3]) for kind in pairs.KINDS}
    lines = list(pairs.pairs_table(told, files, {"base": changes}))
    assert lines[2] == "| over-sharpened | 4 | 50% | 25% | 25% | 1 of 2 |"


@pytest.mark.parametrize(
    ("better", "said"),
    [
        ("left", "says left 20 times instead of 10; ask another"),
        ("up", "pair 1 has 'up', not left, right"),
    ],
)
def test_a_habit_or_another_word_is_no_answer(tmp_path: Path, better: str, said: str) -> None:
    folder = tmp_path / "pass1-grader1"
    folder.mkdir()
    numbers = range(1, 21)
    keys = "".join(
        f"pass1-grader1,{n},test,a.jpg,320 px,{('photo', 'damaged')[n % 2]}\n" for n in numbers
    )
    (tmp_path / "key.csv").write_text("grader,pair,split,file,damage,left\n" + keys)
    (folder / "answers.csv").write_text(
        "pair,better\n" + "".join(f"{n},{better}\n" for n in numbers)
    )
    with pytest.raises(SystemExit, match=said):
        pairs.collect(tmp_path, tmp_path / "pairs.csv")
    assert not (tmp_path / "pairs.csv").exists()
