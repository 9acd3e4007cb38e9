"""runs/average.py: the mean of several checkpoints."""

import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, train_tiny

from mspt.training.checkpoint import load_network, load_state
from mspt.training.config import RunConfig

sys.path.insert(0, str(ROOT / "runs"))

import average


def test_the_mean_of_three_checkpoints_is_one_that_scores(
    run: RunConfig, manifest: Path, tmp_path: Path
) -> None:
    seeds = (run.model_copy(update={"seed": seed}) for seed in range(3))
    folders = [train_tiny(r, tmp_path / f"{i}") for i, r in enumerate(seeds)]
    average.average(folders, manifest, tmp_path / "mean")
    *weights, mean = (load_network(f).state_dict() for f in (*folders, tmp_path / "mean"))
    name = "classifier.weight"
    assert torch.allclose(mean[name], torch.stack([w[name] for w in weights]).mean(0))
    assert not torch.allclose(mean[name], weights[-1][name])
    statistics = "bn1.running_mean"
    assert not torch.allclose(mean[statistics], weights[-1][statistics]), "measured anew"
    assert load_state(tmp_path / "mean") == load_state(folders[-1])


def test_one_checkpoint_has_no_mean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["average.py", "one", "--data", "data", "--out", "out"])
    with pytest.raises(SystemExit):
        average.main()
    assert "two checkpoints or more, got 1" in capsys.readouterr().err
