"""Model files: one `.onnx` that carries its preprocessing, meaning and licence.

In:   a name of an embedded model, or a path.
Out:  its path, and ModelInfo read from its metadata; a file without it is refused.

The network inside takes uint8 RGB (N, S, S, 3) and returns float32 (N,).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mspt.errors import ModelError
from mspt.spec import InputSpec

DEFAULT_MODEL = "base"
FORMAT = "1"  # of the metadata; raised when an older reader could misunderstand it

# Every key that a model file must have; the prefix keeps them apart from other tools' keys.
KEYS = (
    "mspt.format",
    "mspt.name",
    "mspt.version",
    "mspt.input_spec",
    "mspt.params",
    "mspt.gflops",
    "mspt.training",
    "mspt.reference",
    "mspt.licence",
)
_MAX_METADATA = 2**20  # characters
PROBE_KEY = "mspt.probe"  # not in files of earlier versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """How the model's scores spread over a documented set of images."""

    description: str
    quantiles: tuple[float, ...]  # scores at 0, 1, ..., 100 %

    def percentile(self, score: float) -> float:
        """Return how many per cent of the reference set score lower, 0..100, one decimal."""
        levels = np.linspace(0, 100, len(self.quantiles))
        return round(float(np.interp(score, self.quantiles, levels)), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a model file says of itself."""

    name: str
    version: str
    spec: InputSpec
    params: int
    gflops: float  # by fvcore, for one image at the spec's size
    training: Mapping[str, Any]  # summary of the run
    reference: Reference
    licence: str
    probe: tuple[float, ...] = ()  # onnxruntime's scores of the probe's pictures

    @property
    def label(self) -> str:
        """Return how rows name the model."""
        return f"{self.name}@{self.version}"

    def to_metadata(self) -> dict[str, str]:
        """Return the key-value pairs to store in the file."""
        reference = {
            "description": self.reference.description,
            "quantiles": [round(q, 6) for q in self.reference.quantiles],
        }
        values = (
            FORMAT,
            self.name,
            self.version,
            self.spec.to_json(),
            str(self.params),
            str(self.gflops),
            json.dumps(self.training, sort_keys=True),
            json.dumps(reference),
            self.licence,
        )
        probe = {PROBE_KEY: json.dumps([round(p, 6) for p in self.probe])} if self.probe else {}
        return dict(zip(KEYS, values, strict=True)) | probe

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], where: str) -> "ModelInfo":
        """Read the key-value pairs of a file; `where` names it in errors.

        Raises:
            ModelError: naming the missing key or the value that cannot be understood.
        """
        missing = [key for key in KEYS if key not in metadata]
        if missing:
            raise ModelError(
                f"{where}: metadata key {missing[0]!r} is missing; it is not a model of mspt. "
                "Write models with `mspt export`"
            )
        if (size := sum(map(len, metadata.values()))) > _MAX_METADATA:
            raise ModelError(
                f"{where}: metadata of {size} characters, more than the {_MAX_METADATA} that a "
                "model needs"
            )
        if metadata["mspt.format"] != FORMAT:
            raise ModelError(
                f"{where}: metadata format {metadata['mspt.format']!r}, but this version reads "
                f"{FORMAT!r}; update mspt"
            )
        try:
            reference = json.loads(metadata["mspt.reference"])
            quantiles = tuple(map(float, reference["quantiles"]))
            if len(quantiles) < 2 or not all(a <= b for a, b in pairwise(quantiles)):
                raise ValueError("the reference quantiles do not rise")
            return cls(
                name=metadata["mspt.name"],
                version=metadata["mspt.version"],
                spec=InputSpec.from_json(metadata["mspt.input_spec"]),
                params=int(metadata["mspt.params"]),
                gflops=float(metadata["mspt.gflops"]),
                training=json.loads(metadata["mspt.training"]),
                reference=Reference(
                    description=reference["description"],
                    quantiles=quantiles,
                ),
                licence=metadata["mspt.licence"],
                probe=tuple(map(float, json.loads(metadata.get(PROBE_KEY, "[]")))),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ModelError(f"{where}: metadata cannot be understood: {error!r}") from error


def embedded_models() -> dict[str, Path]:
    """Return the models that ship with the package, by name."""
    folder = Path(str(resources.files("mspt.inference"))) / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


def find_model(model: str | Path) -> Path:
    """Return the file of an embedded model's name or of a path.

    Raises:
        ModelError: if there is neither, naming what there is.
    """
    embedded = embedded_models()
    if str(model) in embedded:
        return embedded[str(model)]
    path = Path(model)
    if path.is_file():
        return path
    raise ModelError(
        f"no model {str(model)!r}: neither a file nor one of the embedded models "
        f"({', '.join(embedded)})"
    )
