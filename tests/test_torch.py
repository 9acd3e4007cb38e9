"""The torch module: the model file's scores, differentiable, usable as a loss."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import train_tiny

from mspt.arrays import RGB
from mspt.errors import ModelError
from mspt.image.preprocess import prepare_rgb
from mspt.inference.scorer import Scorer
from mspt.spec import InputSpec, square_spec
from mspt.torch import QualityMetric, load_metric
from mspt.training.config import RunConfig


@pytest.fixture(scope="module")
def metric() -> QualityMetric:
    return load_metric()


def pixels_of(rgb: RGB) -> torch.Tensor:
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255


def damaged_faces(face: RGB) -> list[RGB]:
    rng = np.random.default_rng(0)
    sharp = prepare_rgb(face, square_spec(640))
    noise = rng.normal(0, 30, sharp.shape)
    noisy = np.clip(sharp + noise, 0, 255).astype(np.uint8)
    soft = prepare_rgb(prepare_rgb(face, square_spec(64)), square_spec(640))
    return [sharp, noisy, soft, sharp // 6]


def test_scores_equal_the_model_files_at_its_own_size(
    metric: QualityMetric, scorer: Scorer, face: RGB
) -> None:
    for rgb in damaged_faces(face):
        expected = scorer.score(rgb).score
        assert metric(pixels_of(rgb)).item() == pytest.approx(expected, abs=1e-3)


def test_a_batch_scores_as_its_images_alone(metric: QualityMetric, face: RGB) -> None:
    images = torch.cat([pixels_of(rgb) for rgb in damaged_faces(face)])
    alone = torch.cat([metric(image[None]) for image in images])
    assert metric(images).shape == (4,)
    assert torch.allclose(metric(images), alone, atol=1e-5)
    assert not metric.training
    metric.train()
    assert torch.allclose(metric(images), alone, atol=1e-5), "training mode must change nothing"


def test_it_computes_where_it_is_told_to(face: RGB) -> None:
    here = load_metric("fast", device="cpu")
    assert here.device == torch.device("cpu")
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert load_metric("fast").device.type == where.type
    assert load_metric("fast")(pixels_of(face)).device.type == where.type


def test_another_size_is_fitted(metric: QualityMetric, scorer: Scorer, face: RGB) -> None:
    wide = np.concatenate([face[:, :20], face, face[:, -20:]], axis=1)
    assert metric(pixels_of(wide)).item() == pytest.approx(scorer.score(wide).score, abs=0.02)


def test_it_sees_the_square_that_scoring_sees(metric: QualityMetric, face: RGB) -> None:
    closer = InputSpec(short_side=800, crop_side=640)  # the middle 80 %
    spec = QualityMetric(metric.network, closer)
    middle = face[32:-32, 32:-32]
    assert spec(pixels_of(face)).item() == pytest.approx(metric(pixels_of(middle)).item(), abs=1e-4)
    assert spec(pixels_of(face)).item() != pytest.approx(metric(pixels_of(face)).item(), abs=1e-3)


def test_it_works_as_a_loss(metric: QualityMetric, face: RGB) -> None:
    """Gradient ascent on the pixels of a noisy face raises its score; the weights stay."""
    assert metric.lower_better is False
    image = pixels_of(damaged_faces(face)[1]).requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.01)
    scores = []
    for _ in range(8):
        optimizer.zero_grad()
        score = metric(image.clamp(0, 1)).mean()
        (1 - score).backward()
        optimizer.step()
        scores.append(score.item())
    assert scores[-1] > scores[0] + 0.1
    assert all(parameter.grad is None for parameter in metric.parameters())


def test_what_is_no_image_is_refused(metric: QualityMetric) -> None:
    for wrong in (
        torch.zeros(3, 64, 64),
        torch.zeros(1, 64, 64, 3),
        torch.zeros(1, 3, 9, 9).byte(),
    ):
        with pytest.raises(ValueError, match=r"must be float \(N, 3, H, W\), RGB in 0..1"):
            metric(wrong)


def test_an_embedded_model_comes_before_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_metric("base").spec == square_spec(640)


def test_checkpoints_load_too_and_other_files_are_refused(run: RunConfig, tmp_path: Path) -> None:
    metric = load_metric(train_tiny(run, tmp_path / "out"))
    assert metric.spec == square_spec(64)
    assert metric(torch.rand(2, 3, 64, 64)).shape == (2,)
    (tmp_path / "junk.onnx").write_bytes(b"\x08\x01junk")
    with pytest.raises(ModelError, match="junk.onnx"):
        load_metric(tmp_path / "junk.onnx")
    with pytest.raises(ModelError, match="no model 'nothing'"):
        load_metric("nothing")


def test_without_torch_the_extra_is_named() -> None:
    code = "import sys; sys.modules['torch'] = None; import mspt.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: torch is not installed" in done.stderr
    assert '".[train]"' in done.stderr


def test_images_in_0_to_255_are_refused(metric: QualityMetric, face: RGB) -> None:
    with pytest.raises(ValueError, match="images reach 255, but must lie in 0..1; divide"):
        metric(pixels_of(face) * 255)
    assert metric(pixels_of(face) * 1.2).isfinite().all(), "a network may overshoot a little"


def test_images_in_minus_1_to_1_are_refused(metric: QualityMetric, face: RGB) -> None:
    with pytest.raises(ValueError, match=r"go down to -1, but .*; \(images \+ 1\) / 2 brings"):
        metric(pixels_of(face) * 2 - 1)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_are_taken_and_gradients_come_back(
    metric: QualityMetric, face: RGB, kind: torch.dtype
) -> None:
    images = pixels_of(face).to(kind).requires_grad_()
    score = metric(images)
    assert score.dtype == torch.float32
    assert float(score.detach()) == pytest.approx(float(metric(pixels_of(face))), abs=0.02)
    score.sum().backward()
    assert images.grad is not None
    assert images.grad.dtype == kind


def test_it_describes_itself_as_other_metrics_do(metric: QualityMetric) -> None:
    described = (metric.lower_better, metric.higher_is_better, metric.is_differentiable)
    assert described == (False, True, True)
    assert metric.device == torch.device("cpu")
