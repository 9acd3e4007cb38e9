"""The networks: ours is the paper's, timm's serve as peers, and losses say what they should."""

import json

import pytest
import torch
from conftest import ROOT

from mspt.errors import ConfigError
from mspt.training.backbones import build_network
from mspt.training.cost import measure_cost
from mspt.training.losses import RANK_MARGIN, plcc_loss, quality_loss, rank_loss, spoil_loss
from mspt.training.network import MsptNetwork


def test_names_and_shapes_are_timms() -> None:
    pinned = json.loads((ROOT / "tests/golden/mobilenetv3_small_100.json").read_text())
    ours = {name: list(tensor.shape) for name, tensor in MsptNetwork().state_dict().items()}
    assert ours == pinned


def test_the_cost_is_the_papers() -> None:
    cost = measure_cost(MsptNetwork(), 640)
    assert (cost.params, cost.gflops) == (1_518_881, 0.46874)
    assert measure_cost(MsptNetwork(), 384).gflops == pytest.approx(0.169, abs=5e-4)


def test_the_network_scores_between_0_and_1_and_starts_undecided() -> None:
    torch.manual_seed(0)
    scores = MsptNetwork().eval()(torch.rand(3, 3, 96, 96))
    assert scores.shape == (3,)
    assert ((scores > 0.3) & (scores < 0.7)).all()


def test_plcc_loss_runs_from_0_to_1() -> None:
    mos = torch.tensor([0.1, 0.4, 0.9])
    assert plcc_loss(3 * mos - 7, mos).item() == pytest.approx(0, abs=1e-5)
    assert plcc_loss(-mos, mos).item() == pytest.approx(1, abs=1e-5)
    score = torch.full((3,), 0.5, requires_grad=True)
    loss = plcc_loss(score, mos)
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert score.grad.isfinite().all()


def test_losses_refuse_what_has_no_correlation() -> None:
    with pytest.raises(ValueError, match=r"score \(1,\) and mos \(1,\) must both be \(N,\)"):
        plcc_loss(torch.zeros(1), torch.zeros(1))
    with pytest.raises(ValueError, match=r"score \(2,\) and mos \(3,\)"):
        plcc_loss(torch.zeros(2), torch.zeros(3))


def test_the_quality_loss_adds_what_its_weights_say() -> None:
    score, mos = torch.tensor([0.5, 0.5, 0.9]), torch.tensor([0.5, 0.5, 0.5])
    loss = quality_loss(score, mos, mse_weight=3, plcc_weight=0)
    assert loss.item() == pytest.approx(3 * 0.16 / 3)


def test_the_spoil_loss_asks_for_a_share_of_the_score() -> None:
    score, lost = torch.tensor([0.8, 0.5], requires_grad=True), torch.tensor([0.1, 0.02])
    assert spoil_loss(score, score * (1 - lost) - 1e-6, lost).item() == 0
    higher = spoil_loss(score, score + 0.01, lost)
    assert higher.item() == pytest.approx((0.01 + 0.08 + 0.01 + 0.01) / 2)
    higher.backward()
    assert score.grad is not None
    assert not score.grad.abs().max() > 1e-6, "moves with its view: their distance counts alone"
    assert spoil_loss(score[:0], score[:0], lost[:0]).item() == 0


def test_the_rank_loss_asks_for_order_within_an_identity_alone() -> None:
    mos = torch.tensor([0.9, 0.5, 0.88, 0.1])
    one, others = torch.zeros(4, dtype=torch.long), torch.arange(4)
    assert rank_loss(mos, mos, one).item() == 0
    squeezed = torch.tensor([0.5, 0.42, 0.48, 0.3])  # in order, a margin or the labels' gap apart
    assert rank_loss(squeezed, mos, one).item() == pytest.approx(0, abs=1e-7)
    equal = torch.full((4,), 0.5, requires_grad=True)
    loss = rank_loss(equal, mos, one)
    assert loss.item() == pytest.approx((5 * RANK_MARGIN + 0.02) / 6)
    loss.backward()
    assert equal.grad[0] < 0 < equal.grad[3]
    nothing = rank_loss(equal, mos, others)
    nothing.backward()
    assert nothing.item() == 0


@pytest.mark.parametrize(
    ("name", "params"), [("edgenext_xx_small", 1_180_313), ("mobilenetv3_small_100", 1_651_233)]
)
def test_backbones_of_timm_score_too(name: str, params: int) -> None:
    network = build_network(f"timm:{name}").eval()
    assert measure_cost(network, 96).params == params
    scores = network(torch.rand(2, 3, 64, 64))
    assert scores.shape == (2,)
    assert ((scores > 0) & (scores < 1)).all()


def test_blocks_with_a_layer_scale_take_part_from_the_start() -> None:
    """With the start of timm EdgeNeXt is all but linear for a thousand steps."""
    torch.manual_seed(0)
    backbone = build_network("timm:edgenext_xx_small").backbone.eval()
    pixels = torch.rand(1, 3, 64, 64)
    awake = backbone(pixels)
    for name, parameter in backbone.named_parameters():
        if "gamma" in name:
            assert parameter.mean().item() == pytest.approx(0.1)
            torch.nn.init.zeros_(parameter)
    silent = backbone(pixels)
    assert (awake - silent).abs().mean() > 0.1 * silent.abs().mean()


def test_backbones_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'timm:no_such': timm .* has no such model"):
        build_network("timm:no_such")
    with pytest.raises(ConfigError, match=r"'timm:vit_tiny_patch16_224' takes no image of 96 px"):
        build_network("timm:vit_tiny_patch16_224")
