"""The network at work.    decode -> crop -> preprocess -> [session]

In:   uint8 RGB (S, S, 3), prepared.
Out:  the raw score, a float.

One image per call and one thread per call: batches gain nothing in onnxruntime on CPUs, and a
score then cannot depend on its neighbours. Callers run in parallel on one shared session.
"""

from pathlib import Path

from mspt.errors import ModelError
from mspt.image.crop import RGB
from mspt.inference.models import ModelInfo

_INPUT, _OUTPUT = "rgb", "score"


class Session:
    """A loaded model file."""

    def __init__(self, path: Path) -> None:
        """Load and check a model file.

        Raises:
            ModelError: if onnxruntime cannot load it, or it is not a model of mspt.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no base class of its own
            raise ModelError(f"{path}: onnxruntime cannot load it: {error}") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.info = ModelInfo.from_metadata(metadata, str(path))
        self._check_signature(path)

    def _check_signature(self, path: Path) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        side = self.info.spec.crop_side
        found = [(node.name, node.type, node.shape[1:]) for node in (*inputs, *outputs)]
        expected = [(_INPUT, "tensor(uint8)", [side, side, 3]), (_OUTPUT, "tensor(float)", [])]
        if found != expected:
            raise ModelError(f"{path}: its inputs and outputs are {found}, not {expected}")

    def score_rgb(self, rgb: RGB) -> float:
        """Score one prepared image, uint8 (S, S, 3)."""
        (scores,) = self._session.run([_OUTPUT], {_INPUT: rgb[None]})
        return float(scores[0])
