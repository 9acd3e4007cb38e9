"""Metrics against SciPy's, and the intervals around them."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mspt.evaluation.metrics import (
    bootstrap_interval,
    fit_logistic,
    krcc,
    plcc,
    rank,
    rmse,
    srcc,
)

SMALL_INTEGERS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=60)


def draw_pair(seed: int, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mos = rng.random(n)
    return mos + rng.normal(0, 0.2, n), mos


@pytest.mark.parametrize("seed", range(5))
def test_correlations_equal_scipys(seed: int) -> None:
    score, mos = draw_pair(seed)
    assert srcc(score, mos) == pytest.approx(scipy.stats.spearmanr(score, mos).statistic)
    assert plcc(score, mos) == pytest.approx(scipy.stats.pearsonr(score, mos).statistic)
    assert krcc(score, mos) == pytest.approx(scipy.stats.kendalltau(score, mos).statistic)


@given(SMALL_INTEGERS)
@settings(max_examples=150, deadline=None)
def test_ties_count_as_in_scipy(pairs: list[tuple[int, int]]) -> None:
    score, mos = np.array(pairs, dtype=float).T
    if len(set(score)) == 1 or len(set(mos)) == 1:
        assert np.isnan([srcc(score, mos), krcc(score, mos), plcc(score, mos)]).all()
        return
    assert srcc(score, mos) == pytest.approx(scipy.stats.spearmanr(score, mos).statistic)
    assert krcc(score, mos) == pytest.approx(scipy.stats.kendalltau(score, mos).statistic)
    assert np.array_equal(rank(score), scipy.stats.rankdata(score))


def test_perfect_and_inverted_order_reach_the_ends() -> None:
    x = np.arange(10.0)
    assert (srcc(x, x**3), krcc(x, x**3)) == (pytest.approx(1), pytest.approx(1))
    assert (srcc(x, -x), krcc(x, -x), plcc(x, -x)) == (pytest.approx(-1),) * 3


@pytest.mark.parametrize("correlation", [plcc, srcc, krcc])
def test_what_is_constant_correlates_with_nothing(correlation) -> None:
    varied = np.random.default_rng(0).random(10)
    for constant in (np.full(10, 0.3), np.full(10, 0.7)):  # whose means are not quite .3 and .7
        assert np.isnan(correlation(constant, varied))
        assert np.isnan(correlation(varied, constant))
    assert np.isnan(correlation(np.full(3, 0.1), np.full(3, 0.7)))


def test_rmse_is_of_the_errors_not_of_the_truth_with_itself() -> None:
    assert rmse(np.array([0.0, 0.0, 0.0]), np.array([0.3, 0.3, 0.3])) == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(3))
def test_the_logistic_fit_is_as_good_as_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.random(300) * 2 - 1
    mos = 0.9 / (1 + np.exp(-(score - 0.1) / 0.2)) + 0.05 + rng.normal(0, 0.03, 300)

    def logistic(x, b1, b2, b3, b4):
        return (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4))) + b2

    start = (mos.max(), mos.min(), score.mean(), score.std() / 4)
    best, _ = scipy.optimize.curve_fit(logistic, score, mos, start, maxfev=20_000)
    ours = rmse(fit_logistic(score, mos)(score), mos)
    assert ours <= rmse(logistic(score, *best), mos) + 1e-6


def test_the_logistic_fit_survives_constant_scores() -> None:
    fitted = fit_logistic(np.full(5, 0.5), np.linspace(0, 1, 5))(np.full(5, 0.5))
    assert np.isfinite(fitted).all()


@pytest.mark.parametrize("metric", [srcc, plcc, krcc, rmse])
def test_shapes_that_do_not_fit_are_refused(metric) -> None:
    with pytest.raises(ValueError, match=r"scores \(3,\) and mos \(4,\)"):
        metric(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="N >= 3"):
        metric(np.zeros(2), np.zeros(2))


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        sample = rng.normal(0.5, 1, 60)
        low, high = bootstrap_interval(
            lambda i, x=sample: float(x[i].mean()), range(60), resamples=200, seed=trial
        )
        hits += low <= 0.5 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_groups_are_drawn_whole_so_copies_add_no_certainty() -> None:
    values = np.random.default_rng(1).normal(size=50)
    alone = bootstrap_interval(lambda i: float(values[i].mean()), range(50))
    copied = np.repeat(values, 20)
    groups = np.repeat(np.arange(50), 20).tolist()
    together = bootstrap_interval(lambda i: float(copied[i].mean()), groups)
    assert together[1] - together[0] == pytest.approx(alone[1] - alone[0], rel=0.2)


def test_intervals_repeat_exactly() -> None:
    score, mos = draw_pair(0, 50)
    twice = [bootstrap_interval(lambda i: srcc(score[i], mos[i]), range(50)) for _ in range(2)]
    assert twice[0] == twice[1]
