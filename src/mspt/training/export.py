"""Checkpoint -> one ONNX file that needs nothing else; written only if its scores are torch's.

In:   a checkpoint folder and reference images.
Out:  OUT.onnx: uint8 NHWC in, float32 (N,) out, normalisation inside, metadata by
      inference/models.py, among it the distribution of its scores over the reference images.
"""

import math
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mspt.arrays import RGB
from mspt.errors import ImageError, ModelError
from mspt.evaluation.manifest import Entry
from mspt.files import whole_file
from mspt.image.decode import read_rgb
from mspt.image.preprocess import prepare_rgb
from mspt.inference.models import ModelInfo, Reference
from mspt.inference.session import Session
from mspt.training.backbones import Network
from mspt.training.batches import to_pixels
from mspt.training.checkpoint import WEIGHTS, State, load_mean, load_state
from mspt.training.cost import measure_cost
from mspt.training.lineage import describe_training

MAX_DIFFERENCE = 1e-4  # between torch's and onnxruntime's score of any reference image
MAX_HALF_DIFFERENCE = 2e-3  # likewise, where the file keeps its weights in 16 bits
_SMALL = 1024  # weights: a tensor of no more stays float32 beside halved ones
_PARITY_IMAGES = 64  # torch scores this many of the reference images
_OPSET = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What the model file will say of itself beyond what the checkpoint knows."""

    name: str
    licence: str
    reference_description: str
    version: str = ""  # default: a digest of the weights, so that rows of two never mix
    half: bool = False  # keep weights as float16: half the file; computed in float32 all the same


class _RgbNetwork(nn.Module):
    """The network behind the model file's signature."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, rgb: Tensor) -> Tensor:
        """Return scores, (N,), of uint8 (N, S, S, 3)."""
        score: Tensor = self.network(to_pixels(rgb))
        return score


def export_model(
    checkpoints: Sequence[Path], out: Path, reference: Sequence[Entry], release: Release
) -> float:
    """Write the model file and return the largest difference found between the two runtimes.

    Args:
        checkpoints: one, or several whose weights are averaged.
        out: the file.
        reference: images that percentiles refer to.
        release: what the file says of itself.

    Raises:
        ModelError: if they differ by more than allowed, or checkpoints have no mean; then nothing
            is written.
        ImageError: if a reference image cannot be decoded.
    """
    states, network = list(map(load_state, checkpoints)), load_mean(checkpoints)
    state = states[0]
    if not release.version:
        release = replace(release, version=_digest(folder / WEIGHTS for folder in checkpoints))
    info = _describe(network, states, release)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "model.onnx"
        write_onnx(network, state.spec.crop_side, draft)
        if release.half:
            halve_weights(draft)
        write_metadata(draft, info)
        session = Session(draft)
        scores = _score_all(session, reference, state)
        difference = _largest_difference(network, scores, reference, state)
        allowed = MAX_HALF_DIFFERENCE if release.half else MAX_DIFFERENCE
        if not difference <= allowed:  # so that NaN does not pass
            raise ModelError(
                f"{out} is not written: torch and onnxruntime differ by {difference:.2e} on a "
                f"reference image, more than {allowed:.0e}"
            )
        write_metadata(
            draft,
            replace(
                info,
                reference=_distribution(scores, release),
                probe=tuple(session.score_probe()),
            ),
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(out) as copy:  # the draft may be on another disk
            shutil.copyfile(draft, copy)
    return difference


def _digest(files: Iterable[Path]) -> str:
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]


def _describe(network: Network, states: Sequence[State], release: Release) -> ModelInfo:
    """Return what the file says of itself, but for the distribution, which needs its scores."""
    spec = states[0].spec
    cost = measure_cost(network, spec.crop_side)
    trainings = list(map(describe_training, states))
    return ModelInfo(
        name=release.name,
        version=release.version,
        spec=spec,
        params=cost.params,
        gflops=cost.gflops,
        training=trainings[0] if len(trainings) == 1 else {"mean of": trainings},
        reference=Reference(description="", quantiles=(0.0, 1.0)),
        licence=release.licence,
    )


def _distribution(scores: npt.NDArray[np.float64], release: Release) -> Reference:
    quantiles = np.percentile(scores, np.arange(101)).round(6)
    description = f"{release.reference_description} ({len(scores)} images)"
    return Reference(description=description, quantiles=tuple(quantiles.tolist()))


def write_onnx(network: Network, side_px: int, path: Path) -> None:
    """Write the bare graph, weights inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about its own insides
        torch.onnx.export(
            _RgbNetwork(network).eval(),
            (torch.zeros(2, side_px, side_px, 3, dtype=torch.uint8),),
            path,
            input_names=["rgb"],
            output_names=["score"],
            dynamic_shapes={"rgb": {0: torch.export.Dim("N", min=1, max=1024)}},
            opset_version=_OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    _forget_the_exporter(path)


def _forget_the_exporter(path: Path) -> None:
    """Drop what torch notes on every node: source lines, with the paths of this machine."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        del part.metadata_props[:]
        part.doc_string = ""
    for tensor in graph.initializer:
        del tensor.metadata_props[:]
    onnx.save(model, path)


def halve_weights(path: Path) -> None:
    """Store the weights as float16 and cast them where they are used.

    Small tensors stay float32: 1 % of the weights, and nearly all that halving moves scores by.

    onnxruntime and OpenVINO fold the casts when they load the file: speed and memory stay.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    casts = {}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and math.prod(tensor.dims) > _SMALL:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
            casts[tensor.name] = helper.make_node(
                "Cast", [tensor.name], [f"{tensor.name}.float32"], to=TensorProto.FLOAT
            )
    for node in model.graph.node:
        node.input[:] = [casts[n].output[0] if n in casts else n for n in node.input]
    nodes = [*casts.values(), *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def write_metadata(path: Path, info: ModelInfo) -> None:
    """Put the metadata into the file, replacing what it had."""
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    for key, value in info.to_metadata().items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _score_all(
    session: Session, reference: Sequence[Entry], state: State
) -> npt.NDArray[np.float64]:
    return np.array([session.score_rgb(_prepare(entry, state)) for entry in reference])


@torch.no_grad()
def _largest_difference(
    network: Network,
    scores: npt.NDArray[np.float64],
    reference: Sequence[Entry],
    state: State,
) -> float:
    """Compare with torch on images spread over the reference set."""
    chosen = np.unique(np.linspace(0, len(reference) - 1, _PARITY_IMAGES).astype(int))
    torch_scores = [network(_pixels_of(reference[i], state)).item() for i in chosen]
    return float(np.abs(np.array(torch_scores) - scores[chosen]).max())


def _pixels_of(entry: Entry, state: State) -> Tensor:
    return to_pixels(torch.from_numpy(_prepare(entry, state).copy())[None])


def _prepare(entry: Entry, state: State) -> RGB:
    try:
        return prepare_rgb(read_rgb(entry.path), state.spec)
    except ImageError as error:
        raise type(error)(f"{entry.path}: {error}") from error
