"""What computes: onnxruntime by default, openvino by choice, and neither changes a contract."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import FACES, ORIGINAL, RunCli

import mspt
from mspt.arrays import RGB
from mspt.errors import ConfigError, ModelError
from mspt.inference import session
from mspt.inference.models import PROBE_KEY, embedded_models, find_model
from mspt.inference.scorer import Scorer
from mspt.inference.session import Session, open_session

PATHS = sorted(FACES.iterdir())


@pytest.fixture
def fake_openvino(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a backend in openvino's place that computes in bf16 and moves every score."""

    def install(moved: float = 0.0) -> None:
        class Bf16(session._OnnxRuntime):
            precision = "bf16"

            def run(self, rgb: RGB) -> float:
                return super().run(rgb) + moved

        runtimes = dict(session._RUNTIMES) | {"openvino": Bf16}
        monkeypatch.setattr(session, "_RUNTIMES", runtimes)
        monkeypatch.setattr(session, "_may_have_bf16", lambda: True)

    return install


def test_auto_takes_what_is_faster_and_rows_name_it(fake_openvino: Callable[..., None]) -> None:
    fake_openvino()
    found = mspt.load()
    assert found.label == f"{found.info.label}+bf16"
    assert found.score(ORIGINAL).model == found.label


def test_auto_leaves_a_backend_whose_scores_differ(fake_openvino: Callable[..., None]) -> None:
    fake_openvino(moved=2 * session.MAX_DIFFERENCE)
    found = open_session(find_model("base"))
    assert (found.backend, found.precision) == ("onnxruntime", "fp32")


def test_auto_is_onnxruntime_where_nothing_computes_in_bf16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "_may_have_bf16", lambda: False)
    assert open_session(find_model("base")).backend == "onnxruntime"


def test_auto_is_onnxruntime_for_files_without_the_probes_scores(
    fake_openvino: Callable[..., None], tmp_path: Path
) -> None:
    import onnx

    fake_openvino()
    model = onnx.load(find_model("base"))
    kept = [p for p in model.metadata_props if p.key != PROBE_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "m.onnx")
    assert open_session(tmp_path / "m.onnx").backend == "onnxruntime"


@pytest.mark.parametrize("name", sorted(embedded_models()))
def test_the_file_tells_the_probes_scores(name: str) -> None:
    found = Session(find_model(name))
    assert found.score_probe() == pytest.approx(found.info.probe, abs=1e-4)
    assert sorted(found.info.probe, reverse=True) == list(found.info.probe)  # large to small


def test_openvino_gives_the_scores_of_onnxruntime(scorer: Scorer) -> None:
    openvino = mspt.load(backend="openvino")
    fp32 = Session(find_model("base"), "openvino").precision == "fp32"
    tolerance = 2e-6 if fp32 else 0.02
    for ours, theirs in zip(scorer.score_many(PATHS), openvino.score_many(PATHS), strict=True):
        assert theirs.score == pytest.approx(ours.score, abs=tolerance)
    assert openvino.info == scorer.info


def test_threads_do_not_change_openvinos_scores() -> None:
    openvino = mspt.load(backend="openvino")
    alone = [openvino.score(path).score for path in PATHS]
    assert [r.score for r in openvino.score_many(PATHS * 3, workers=4)] == alone * 3


def test_threads_that_are_first_at_once_do_not_hang() -> None:
    code = (
        f"import mspt; paths = {list(map(str, PATHS))}; scorer = mspt.load(backend='openvino');"
        "print(len(list(scorer.score_many(paths, workers=4))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(len(PATHS)), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_openvino_says_so_in_a_forked_process() -> None:
    code = """
import os, mspt
scorer = mspt.load(backend="openvino")
if not os.fork():
    try:
        scorer.score(%r)
    except mspt.ModelError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""
    command = [sys.executable, "-W", "ignore", "-c", code % str(ORIGINAL)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "openvino does not work in a forked process; load the scorer there" in done.stdout


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


@pytest.mark.parametrize(
    ("returned", "said"), [(-0.3, "-0.3"), (1.01, "1.01"), (float("nan"), "nan")]
)
def test_what_is_not_a_score_is_a_model_error(
    returned: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session._OnnxRuntime, "run", lambda self, rgb: returned)
    with pytest.raises(ModelError, match=rf"base.onnx: it returns {said}, which is not a score"):
        mspt.load(backend="onnxruntime").score(ORIGINAL)


def test_a_model_that_cannot_be_computed_is_a_model_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: object, rgb: RGB) -> float:
        raise RuntimeError("bad allocation")

    monkeypatch.setattr(session._OnnxRuntime, "run", run)
    with pytest.raises(ModelError, match="onnxruntime cannot compute it: bad allocation"):
        mspt.load(backend="onnxruntime").score(ORIGINAL)


@pytest.mark.parametrize("returned", [-0.3, float("nan")])
def test_a_file_that_computes_no_scores_is_refused_when_loaded(
    returned: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "copy.onnx"
    shutil.copy(find_model("fast"), file)
    assert mspt.load(file, backend="onnxruntime").info.name == "fast"
    monkeypatch.setattr(session._OnnxRuntime, "run", lambda self, rgb: returned)
    with pytest.raises(ModelError, match="copy.onnx: it returns .* which is not a score in 0..1"):
        mspt.load(file, backend="onnxruntime")
