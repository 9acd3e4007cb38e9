"""What computes: onnxruntime by default, openvino by choice, and neither changes a contract."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import FACES, ORIGINAL, RunCli

import mspt
from mspt.errors import ConfigError, ModelError
from mspt.inference import session
from mspt.inference.models import find_model
from mspt.inference.scorer import Scorer
from mspt.inference.session import Session

PATHS = sorted(FACES.iterdir())


def test_auto_is_onnxruntime(scorer: Scorer) -> None:
    for backend in ("auto", "onnxruntime"):
        found = Session(find_model("base"), backend)
        assert (found.backend, found.precision, found.label) == ("onnxruntime", "fp32", "base@9")


@pytest.mark.filterwarnings("ignore:openvino computes in bf16")
def test_openvino_gives_the_scores_of_onnxruntime(scorer: Scorer) -> None:
    openvino = mspt.load(backend="openvino")
    fp32 = Session(find_model("base"), "openvino").precision == "fp32"
    tolerance = 2e-6 if fp32 else 0.02
    for ours, theirs in zip(scorer.score_many(PATHS), openvino.score_many(PATHS), strict=True):
        assert theirs.score == pytest.approx(ours.score, abs=tolerance)
    assert openvino.info == scorer.info


@pytest.mark.filterwarnings("ignore:openvino computes in bf16")
def test_threads_do_not_change_openvinos_scores() -> None:
    openvino = mspt.load(backend="openvino")
    alone = [openvino.score(path).score for path in PATHS]
    assert [r.score for r in openvino.score_many(PATHS * 3, workers=4)] == alone * 3


def test_another_precision_is_warned_of_and_named_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bf16(session._OnnxRuntime):
        precision = "bf16"

    monkeypatch.setattr(session, "_OpenVino", Bf16)
    with pytest.warns(UserWarning, match="openvino computes in bf16 on this processor"):
        scorer = mspt.load(backend="openvino")
    assert scorer.score(ORIGINAL).model == "base@9+bf16"


@pytest.mark.parametrize("capabilities", [["FP32", "BF16"], ["FP32", "INT8"]])
def test_bf16_is_taken_only_where_the_processor_offers_it(
    capabilities: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    core = SimpleNamespace(get_property=lambda *_: capabilities)
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=lambda: core))
    assert session.offers_bf16() == ("BF16" in capabilities)


def test_an_unknown_backend_is_refused_naming_those_there_are(run_cli: RunCli) -> None:
    with pytest.raises(ConfigError, match="'cuda' is unknown; there are auto, onnxruntime, open"):
        mspt.load(backend="cuda")
    done = run_cli("score", ORIGINAL, "--backend", "cuda")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: backend 'cuda' is unknown" in done.stderr


def test_without_openvino_the_extra_is_named() -> None:
    code = "import sys; sys.modules['openvino'] = None; import mspt; mspt.load(backend='openvino')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: openvino is not installed" in done.stderr
    assert '".[fast]"' in done.stderr


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_what_is_no_model_is_refused_by_either(backend: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=f"m.onnx: {backend} cannot load it"):
        Session(tmp_path / "m.onnx", backend)


def test_openvino_refuses_a_model_without_metadata_naming_the_key(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(find_model("base"))
    kept = [p for p in model.metadata_props if p.key != "mspt.licence"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="metadata key 'mspt.licence' is missing"):
        Session(tmp_path / "m.onnx", "openvino")
