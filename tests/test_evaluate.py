"""Evaluation: agreement over all, per part, and the order within faces."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import FACES

from mspt.errors import DataError
from mspt.evaluation import tables as report
from mspt.evaluation.evaluate import Evaluation, evaluate, evaluate_scores
from mspt.evaluation.manifest import Entry
from mspt.inference.scorer import Scorer


def ladder(identities: int = 12) -> list[Entry]:
    """Per identity: pristine, two severities of jpeg, one mixture."""
    entries = []
    for number in range(identities):
        common = {"path": Path(f"{number}.png"), "identity": f"id{number}"}
        entries += [
            Entry(mos=1.0, source="pristine", **common),
            Entry(mos=0.7, source="single", degradation="jpeg", severity=0.2, **common),
            Entry(mos=0.3, source="single", degradation="jpeg", severity=0.9, **common),
            Entry(mos=0.4, source="capture", degradation="capture", severity=0.5, **common),
        ]
    return entries


def evaluate_ladder(scores_per_face: list[float]) -> Evaluation:
    entries = ladder()
    return evaluate_scores(entries, np.tile(scores_per_face, 12), model="m@1", resamples=50)


def test_perfect_scores_agree_perfectly() -> None:
    result = evaluate_ladder([1.0, 0.7, 0.3, 0.4])
    assert result.overall.srcc.value == pytest.approx(1)
    assert result.overall.rmse.value == pytest.approx(0)
    assert (result.overall.images, result.overall.identities) == (48, 12)
    assert result.pristine_above_degraded.right.value == 1
    assert result.severity_order.right.value == 1
    # mos does not vary among the pristine ones, nor within this ladder's mixtures
    assert set(result.by_source) == {"single"}
    assert set(result.by_degradation) == {"jpeg"}


def test_pairs_in_the_wrong_order_are_counted() -> None:
    result = evaluate_ladder([0.6, 0.3, 0.7, 0.4])
    assert result.pristine_above_degraded.pairs == 36
    assert result.pristine_above_degraded.right.value == pytest.approx(2 / 3)
    assert result.severity_order.pairs == 12
    assert result.severity_order.right.value == 0


def test_equal_scores_are_no_right_order() -> None:
    result = evaluate_ladder([0.5, 0.5, 0.5, 0.5])
    assert result.pristine_above_degraded.right.value == 0
    assert np.isnan(result.overall.srcc.value)
    assert json.loads(report.to_json(result))["overall"]["srcc"]["value"] is None


def test_faces_with_several_originals_form_no_pairs() -> None:
    entries = ladder()
    entries += [Entry(path=Path("x.png"), mos=1.0, source="pristine", identity="id0")]
    score = np.array([entry.mos for entry in entries])
    result = evaluate_scores(entries, score, model="m@1", resamples=20)
    assert result.severity_order.pairs == 11
    assert result.pristine_above_degraded.pairs == 33


def test_an_original_may_have_faults_and_is_paired_with_what_is_no_better() -> None:
    faulty = [replace(e, mos=e.mos * 0.8) for e in ladder()]
    score = np.array([entry.mos for entry in faulty])
    order = evaluate_scores(faulty, score, model="m@1", resamples=20).pristine_above_degraded
    assert (order.pairs, order.right.value) == (36, 1)
    faulty[0] = replace(faulty[0], mos=0.4)  # one of its versions is labelled better
    order = evaluate_scores(faulty, score, model="m@1", resamples=20).pristine_above_degraded
    assert order.pairs == 35


def test_intervals_surround_the_value() -> None:
    entries = ladder()
    noisy = np.array([e.mos for e in entries]) + np.random.default_rng(0).normal(0, 0.2, 48)
    overall = evaluate_scores(entries, noisy, model="m@1").overall
    for estimate in (overall.srcc, overall.plcc, overall.krcc, overall.rmse):
        assert estimate.low < estimate.value < estimate.high
    assert overall.plcc_fitted.value >= overall.plcc.value - 1e-9
    assert overall.rmse_fitted.value <= overall.rmse.value + 1e-9


def test_plain_manifests_report_no_pairs_and_no_parts() -> None:
    entries = [Entry(path=Path(f"{i}.jpg"), mos=i / 9) for i in range(10)]
    result = evaluate_scores(entries, np.linspace(0, 1, 10), model="m@1", resamples=20)
    assert result.pristine_above_degraded is None
    assert result.severity_order is None
    unknown = [
        Entry(path=Path(f"{i}.jpg"), mos=1 - i / 9, degradation="x" * (i > 0)) for i in range(10)
    ]
    result_of_unknown = evaluate_scores(unknown, np.linspace(1, 0, 10), model="m@1", resamples=20)
    assert result_of_unknown.pristine_above_degraded is None, "pairs want an identity"
    assert result.by_source == {}
    assert "pristine" not in report.to_text(result)


def test_the_text_names_what_it_shows() -> None:
    text = report.to_text(evaluate_ladder([1.0, 0.7, 0.3, 0.4]))
    assert text.startswith("m@1 on 48 images of 12 identities")
    assert "pristine above its degraded versions: 100.0% [100.0%, 100.0%] of 36 pairs" in text
    assert "after a 4-parameter logistic" in text


def test_an_image_that_cannot_be_scored_stops_the_evaluation(
    scorer: Scorer, tmp_path: Path
) -> None:
    entries = [Entry(path=path, mos=0.5) for path in sorted(FACES.iterdir())[:3]]
    bad = [Entry(path=tmp_path / f"{n}.png", mos=0.1) for n in range(7)]
    with pytest.raises(
        DataError, match=r"7 of .* cannot be used: .*0.png: no such file; .*1.png: "
    ):
        evaluate([*entries, *bad], scorer)
    for entry in bad:
        entry.path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"7 of .*0.png: .*4.png: .*; and 2 more. Repair them") as e:
        evaluate([*entries, *bad], scorer)
    assert "5.png" not in str(e.value)


def test_an_image_counts_once(scorer: Scorer, tmp_path: Path) -> None:
    entries = [Entry(path=path, mos=0.5) for path in sorted(FACES.iterdir())[:4]]
    (tmp_path / "link").symlink_to(entries[2].path)
    for again in (FACES / ".." / "faces" / entries[2].path.name, tmp_path / "link"):
        with pytest.raises(DataError, match=f"1 images are listed twice, such as .* and {again}; "):
            evaluate([*entries, Entry(path=again, mos=0.6)], scorer)


def test_few_images_or_people_claim_no_certainty() -> None:
    entries = [Entry(path=Path(f"{i}.png"), mos=i / 9, identity=f"id{i % 4}") for i in range(9)]
    result = evaluate_scores(entries, np.linspace(0, 1, 9) ** 2, model="m@1")
    assert result.overall.srcc.value == pytest.approx(1)
    assert np.isnan([result.overall.srcc.low, result.overall.plcc_fitted.value]).all()
    text = report.to_text(result)
    assert "1.0000 [too few identities]" in text
    assert "undefined (too few images" in text


def test_two_images_are_too_few(scorer: Scorer) -> None:
    entries = [Entry(path=path, mos=0.5) for path in sorted(FACES.iterdir())[:2]]
    with pytest.raises(DataError, match="2 images are too few; correlations need 3"):
        evaluate(entries, scorer)
