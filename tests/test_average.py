"""runs/average.py: the mean of several checkpoints."""

import sys

import pytest
import torch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "runs"))

from average import main, mean_of


def test_weights_are_averaged_and_counters_are_the_last_ones() -> None:
    first, second, third = (
        {"weight": torch.full((2,), value), "num_batches": torch.tensor(round(value))}
        for value in (1.0, 2.0, 6.0)
    )
    mean = mean_of([first, second, third])
    assert mean["weight"].tolist() == [3.0, 3.0]
    assert mean["num_batches"].item() == 6


def test_one_checkpoint_has_no_mean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["average.py", "one", "--data", "data", "--out", "out"])
    with pytest.raises(SystemExit):
        main()
    assert "two checkpoints or more, got 1" in capsys.readouterr().err
