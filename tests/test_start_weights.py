"""Start weights: from files and the hub, names and shapes checked, both sides listed."""

from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from conftest import train_tiny
from safetensors.torch import save_file

from mspt.errors import ConfigError, DownloadError, ModelError
from mspt.inference.models import find_model
from mspt.inference.session import Session
from mspt.training.backbones import BackboneNetwork
from mspt.training.batches import to_pixels
from mspt.training.checkpoint import load_network
from mspt.training.config import RunConfig
from mspt.training.network import MsptNetwork
from mspt.training.start_weights import load_start_weights

pytestmark = pytest.mark.slow


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A file as timm publishes: an ImageNet classifier, and no counters of batch-norm."""
    torch.manual_seed(1)
    state = MsptNetwork().state_dict()
    state = {k: v.contiguous() for k, v in state.items() if not k.endswith("num_batches_tracked")}
    state |= {"classifier.weight": torch.zeros(1000, 1024), "classifier.bias": torch.zeros(1000)}
    save_file(state, tmp_path / "imagenet.safetensors")
    return tmp_path / "imagenet.safetensors"


def test_imagenets_classifier_is_left_out(published: Path) -> None:
    torch.manual_seed(2)
    network = MsptNetwork()
    classifier = network.classifier.weight.clone()
    remark = load_start_weights(network, str(published))
    torch.manual_seed(1)
    assert torch.equal(network.conv_stem.weight, MsptNetwork().conv_stem.weight)
    assert torch.equal(network.classifier.weight, classifier)
    assert remark.endswith("its classifier has other outputs; ours starts random")


def test_a_checkpoint_starts_another_run(run: RunConfig, tmp_path: Path) -> None:
    checkpoint = train_tiny(run, tmp_path / "first")
    network = MsptNetwork()
    assert load_start_weights(network, str(checkpoint)) == ""
    expected = load_network(checkpoint).state_dict()
    assert all(torch.equal(network.state_dict()[name], expected[name]) for name in expected)
    stage = run.stages[0].model_copy(update={"l2sp": 100.0})
    pulled = run.model_copy(update={"init": str(checkpoint), "stages": (stage,)})
    near = load_network(train_tiny(pulled, tmp_path / "near"))
    kept = load_network(tmp_path / "near/checkpoints/stage0-step000000").state_dict()
    assert all(torch.equal(kept[name], expected[name]) for name in expected), "start weights stay"
    free = pulled.model_copy(update={"stages": (run.stages[0],)})
    far = load_network(train_tiny(free, tmp_path / "far"))
    distances = [
        sum(((p - expected[n]) ** 2).sum().item() for n, p in network.named_parameters())
        for network in (near, far)
    ]
    assert distances[0] < distances[1], "L2-SP keeps the weights near their start"


def test_a_run_may_stay_near_the_scores_that_it_starts_from(run: RunConfig, tmp_path: Path) -> None:
    start = train_tiny(run, tmp_path / "first")
    pixels = torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def moved(distill: float) -> float:
        stage = run.stages[-1].model_copy(update={"distill": distill, "short_side": 64})
        further = run.model_copy(update={"init": str(start), "stages": (stage,)})
        network = load_network(train_tiny(further, tmp_path / f"{distill}"))
        with torch.no_grad():
            change = network.eval()(pixels) - load_network(start).eval()(pixels)
        return float(change.abs().mean())

    assert moved(1000.0) < moved(0.0)


def test_no_run_stays_near_scores_that_its_start_weights_do_not_give(
    published: Path, run: RunConfig, tmp_path: Path
) -> None:
    stage = run.stages[0].model_copy(update={"distill": 1.0})
    further = run.model_copy(update={"init": str(published), "stages": (stage,)})
    with pytest.raises(
        ConfigError, match="ours starts random: stage 1 cannot stay near its scores"
    ):
        train_tiny(further, tmp_path / "out")


def test_a_model_file_starts_a_run_and_scores_stay_its_own(run: RunConfig, tmp_path: Path) -> None:
    batches = [torch.randint(0, 256, (8, 64, 64, 3), dtype=torch.uint8) for _ in range(3)]
    session = Session(find_model("base"))
    network = MsptNetwork()
    assert load_start_weights(network, "base", batches) == ""
    rgb = torch.randint(0, 256, (2, 640, 640, 3), dtype=torch.uint8)
    with torch.no_grad():
        scores = network.eval()(to_pixels(rgb)).numpy()
    assert np.allclose(scores, [session.score_rgb(one) for one in rgb.numpy()], atol=1e-3)
    norm = network.blocks[5][0].bn1
    assert norm.running_var.std() > 0, "batch-norm has learnt the statistics of the batches"

    started = run.model_copy(update={"init": "base", "stages": run.stages[:1]})
    train_tiny(started, tmp_path / "started")
    kept = load_network(tmp_path / "started/checkpoints/stage0-step000000")
    assert torch.equal(kept.classifier.weight, network.classifier.weight)
    assert not list((tmp_path / "started").glob("frames-*")), "gigabytes left behind"

    backbone = BackboneNetwork("edgenext_xx_small")
    with pytest.raises(ConfigError, match=r"model files start network .mspt. alone"):
        load_start_weights(backbone, "base", batches)
    with pytest.raises(ModelError, match=r"no model '.*none.onnx'"):
        load_start_weights(network, str(tmp_path / "none.onnx"))


def test_other_weights_are_refused_and_both_sides_listed(published: Path, tmp_path: Path) -> None:
    state = MsptNetwork().state_dict()
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    del state["conv_stem.weight"]
    state |= {"stem.weight": torch.zeros(1), "bn1.bias": torch.zeros(7)}
    save_file(state, tmp_path / "other.safetensors")
    message = (
        r"is not of this network: 1 missing \(conv_stem.weight\); 1 unexpected \(stem.weight\); "
        r"1 of another shape \(bn1.bias \[7\] instead of \[16\]\)"
    )
    with pytest.raises(ConfigError, match=message):
        load_start_weights(MsptNetwork(), str(tmp_path / "other.safetensors"))
    with pytest.raises(ConfigError, match=r"there is no file .*none.safetensors"):
        load_start_weights(MsptNetwork(), str(tmp_path / "none.safetensors"))
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        load_start_weights(MsptNetwork(), str(tmp_path / "junk.safetensors"))


def test_the_hub_is_asked_for_the_file_and_revision(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(repository: str, file: str, revision: str | None) -> str:
        asked.append((repository, file, revision))
        return str(published)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    load_start_weights(MsptNetwork(), "hub:timm/mobilenetv3_small_100.lamb_in1k@abc")
    assert asked == [("timm/mobilenetv3_small_100.lamb_in1k", "model.safetensors", "abc")]


def test_offline_the_hub_gives_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        DownloadError, match=r"init 'hub:timm/x': model.safetensors cannot be fetched"
    ):
        load_start_weights(MsptNetwork(), "hub:timm/x")
    with pytest.raises(DownloadError, match=r"or download the file elsewhere and set init to its"):
        load_start_weights(MsptNetwork(), "hub:not a repository")
