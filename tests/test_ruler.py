"""The ruler of docs/scores.md: damage lowers the score, and the page shows today's scores."""

import re

import pytest
from benchmarks.studies.score_ruler import LADDERS, PAGE, PICTURE, measure, where_it_falls_to
from conftest import ROOT

from mspt.inference.scorer import Scorer


@pytest.fixture(scope="module")
def scores(scorer: Scorer) -> dict[str, list[float]]:
    return measure(scorer)


def test_scores_fall_along_every_ladder(scores: dict[str, list[float]]) -> None:
    for ladder in LADDERS:
        original, *damaged = scores[ladder.title]
        assert original > damaged[2] > damaged[4] > damaged[-1] - 0.02, ladder.title


def test_the_page_shows_todays_scores(scores: dict[str, list[float]]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for ladder in LADDERS:
        (row,) = re.findall(rf"^\| {ladder.title} \| (.*) \|$", text, flags=re.MULTILINE)
        shown = [float(number) for number in re.findall(r"\*\*([\d.]+)\*\*", row)]
        assert shown == pytest.approx(scores[ladder.title][1:], abs=0.006), (
            f"{ladder.title}: run `python -m benchmarks.studies.score_ruler`"
        )
    assert PICTURE.is_relative_to(ROOT / "docs")
    assert PICTURE.exists()


def test_a_level_is_found_between_two_steps() -> None:
    ladder = LADDERS[2]
    scores = [0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.3]  # at none, 90, 70, 50, 30, 20, 10
    assert where_it_falls_to(0.75, ladder, scores) == "quality 59"  # sqrt(70 x 50)
    assert where_it_falls_to(0.86, ladder, scores) == "before quality 90"
    assert where_it_falls_to(0.1, ladder, scores) == "not reached"
    assert where_it_falls_to(0.91, ladder, scores) == "already below"
