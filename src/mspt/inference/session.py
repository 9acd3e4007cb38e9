"""The network at work.    decode -> crop -> preprocess -> [session]

In:   uint8 RGB (S, S, 3), prepared.
Out:  the raw score, a float.

One image per call and one thread per call: batches gain nothing on CPUs, and a score then cannot
depend on its neighbours. Callers run in parallel on one shared session.
"""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from mspt.arrays import RGB
from mspt.errors import ConfigError, MissingExtraError, ModelError
from mspt.inference.models import KEYS, PROBE_KEY, ModelInfo
from mspt.inference.probe import probe_squares
from mspt.parallel import usable_cores

Backend = str  # "auto", or a key of _RUNTIMES
Precision = Literal["fp32", "bf16"]

# Of a backend's scores of the probe from those in the file, for `auto`. Moving a photo by one pixel
# moves its score by that much.
MAX_DIFFERENCE = 0.005

_INPUT, _OUTPUT = "rgb", "score"
_Signature = list[tuple[str, str, list[int]]]  # name, type, shape without N; the input first


class _Runtime(Protocol):
    """What runs a model file."""

    precision: Precision

    def __init__(self, path: Path) -> None: ...
    def metadata(self) -> Mapping[str, str]: ...
    def signature(self) -> _Signature: ...
    def run(self, rgb: RGB) -> float: ...


class Session:
    """A loaded model file; safe to share between threads."""

    def __init__(self, path: Path, backend: Backend = "onnxruntime") -> None:
        """Load and check a model file.

        Raises:
            ConfigError: if there is no such backend.
            MissingExtraError: if it is not installed.
            ModelError: if it cannot load the file, or it is not a model of mspt.
        """
        self.backend = backend
        self._path = path
        self._runtime = _open_runtime(path, backend)
        self.precision = self._runtime.precision
        metadata, signature = self._describe()
        self.info = ModelInfo.from_metadata(metadata, str(path))
        self._check_signature(signature)

    @property
    def label(self) -> str:
        """Return how rows name the model: name@version, and the precision if it is not fp32."""
        mark = "" if self.precision == "fp32" else f"+{self.precision}"
        return f"{self.info.label}{mark}"

    def _describe(self) -> tuple[Mapping[str, str], _Signature]:
        """Return what the file says of itself, which may be no text at all."""
        try:
            return self._runtime.metadata(), self._runtime.signature()
        except Exception as error:  # neither library has an exception class of its own
            raise ModelError(f"{self._path}: its metadata cannot be read: {error}") from error

    def _check_signature(self, found: _Signature) -> None:
        side = self.info.spec.crop_side
        expected = [(_INPUT, "uint8", [side, side, 3]), (_OUTPUT, "float32", [])]
        if found != expected:
            raise ModelError(f"{self._path}: its inputs and outputs are {found}, not {expected}")

    def score_rgb(self, rgb: RGB) -> float:
        """Score one prepared image, uint8 (S, S, 3).

        Raises:
            ModelError: if the file cannot be computed, or what comes is not a score.
        """
        try:
            score = self._runtime.run(rgb)
        except (ModelError, MemoryError):  # Python's own lack of memory is the photo's
            raise
        except Exception as error:  # neither library has an exception class of its own
            raise ModelError(f"{self._path}: {self.backend} cannot compute it: {error}") from error
        if not 0 <= score <= 1:  # nor is NaN
            raise ModelError(f"{self._path}: it returns {score}, which is not a score in 0..1")
        return score

    def score_probe(self) -> list[float]:
        """Score the probe's pictures."""
        return [self.score_rgb(square) for square in probe_squares(self.info.spec)]


def open_session(path: Path, backend: Backend = "auto") -> Session:
    """Load a model on a backend.

    `auto` takes openvino where it is installed, computes in bf16, which the processor must do, and
    scores the probe as the file says it should be; else onnxruntime, whose scores the file tells.

    Raises:
        As `Session`.
    """
    if backend != "auto":
        return Session(path, backend)
    return _open_if_it_agrees(path, "openvino") or Session(path)


def _open_if_it_agrees(path: Path, backend: Backend) -> Session | None:
    """Return a session that is faster than the default's and gives its scores; else None."""
    if find_spec(backend) is None or not _may_have_bf16():
        return None
    with suppress(ModelError, MissingExtraError):  # broken or outdated: the default may work
        session = Session(path, backend)
        expected = session.info.probe
        if session.precision == "bf16" and expected:
            moved = np.abs(np.subtract(session.score_probe(), expected)).max()
            return session if moved <= MAX_DIFFERENCE else None
    return None


def _may_have_bf16() -> bool:
    """Tell whether it is worth loading a library, which takes a third of a second, to ask it."""
    try:
        return "bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return True


def _open_runtime(path: Path, backend: Backend) -> _Runtime:
    if backend not in _RUNTIMES:
        raise ConfigError(f"backend {backend!r} is unknown; there are auto, {', '.join(_RUNTIMES)}")
    try:
        return _RUNTIMES[backend](path)
    except MissingExtraError:
        raise
    except Exception as error:  # neither library has an exception class of its own
        raise ModelError(f"{path}: {backend} cannot load it: {error}") from error


class _OnnxRuntime:
    """Microsoft's onnxruntime on the CPU, fp32."""

    precision: Precision = "fp32"

    def __init__(self, path: Path) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it reports each use otherwise
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def metadata(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        return found

    def signature(self) -> _Signature:
        types = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
        nodes = (*self._session.get_inputs(), *self._session.get_outputs())
        return [(node.name, types.get(node.type, node.type), node.shape[1:]) for node in nodes]

    def run(self, rgb: RGB) -> float:
        (scores,) = self._session.run([_OUTPUT], {_INPUT: rgb[None]})
        return float(scores[0])


class _OpenVino:
    """Intel's OpenVINO on the CPU: bf16 where the processor computes in it, else fp32."""

    def __init__(self, path: Path) -> None:
        try:
            with _without_telemetry():
                import openvino
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("fast", error) from error
        core = openvino.Core()
        self._model = core.read_model(str(path))
        self._model.reshape([1, *self._model.input().partial_shape[1:]])  # static: 10 % faster
        self.precision: Precision = "bf16" if offers_bf16() else "fp32"
        cores = usable_cores()
        settings = {
            "NUM_STREAMS": cores,  # so that each calling thread gets a core of its own
            "INFERENCE_NUM_THREADS": cores,
            "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp32": "f32"}[self.precision],
        }
        self._compiled = core.compile_model(self._model, "CPU", settings)
        self._local = threading.local()  # a request serves one thread at a time
        self._process = os.getpid()
        # Its first call sets up what all share; two threads that are first at once would hang.
        self.run(np.zeros(self._model.input().shape[1:], dtype=np.uint8))

    def metadata(self) -> Mapping[str, str]:
        places = {key: ["framework", key] for key in (*KEYS, PROBE_KEY)}
        return {
            key: str(self._model.get_rt_info(place).astype(str))
            for key, place in places.items()
            if self._model.has_rt_info(place)
        }

    def signature(self) -> _Signature:
        types = {"u8": "uint8", "f32": "float32"}
        ports = (*self._model.inputs, *self._model.outputs)
        return [
            (
                port.any_name,
                types.get(port.element_type.get_type_name(), "another type"),
                list(port.shape)[1:],
            )
            for port in ports
        ]

    def run(self, rgb: RGB) -> float:
        if os.getpid() != self._process:  # its threads did not come along: it would wait for ever
            raise ModelError(
                "openvino does not work in a forked process; load the scorer there, use the start "
                "method spawn, or backend='onnxruntime'"
            )
        request: Any = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        return float(request.infer({_INPUT: rgb[None]})[0][0])


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Let openvino take its own stub for the package by which it reports each import."""
    name = "openvino_telemetry"
    is_there = name in sys.modules
    if not is_there:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not is_there:
            del sys.modules[name]


def offers_bf16() -> bool:
    """Tell whether openvino computes in bf16 on this processor; needs openvino."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


_RUNTIMES: Mapping[str, type[_Runtime]] = {"onnxruntime": _OnnxRuntime, "openvino": _OpenVino}
