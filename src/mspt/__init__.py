"""mspt: how good does a face photo look?

    import mspt
    mspt.load().score("selfie.jpg").score    # 0..1, higher looks better

Public names are loaded when first used, so that `import mspt` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mspt.errors import (
        ConfigError,
        DataError,
        DecodeError,
        ImageError,
        MissingExtraError,
        MissingFileError,
        ModelError,
        MsptError,
    )
    from mspt.inference.faces import FaceSearch
    from mspt.inference.scorer import Scorer, load
    from mspt.results import FaceBox, Factors, QualityScore, Scored

__version__ = "0.1.0"  # of the package and its metadata

_HOMES = {
    "ConfigError": "mspt.errors",
    "DataError": "mspt.errors",
    "DecodeError": "mspt.errors",
    "FaceBox": "mspt.results",
    "FaceSearch": "mspt.inference.faces",
    "Factors": "mspt.results",
    "ImageError": "mspt.errors",
    "MissingExtraError": "mspt.errors",
    "MissingFileError": "mspt.errors",
    "ModelError": "mspt.errors",
    "MsptError": "mspt.errors",
    "QualityScore": "mspt.results",
    "Scored": "mspt.results",
    "Scorer": "mspt.inference.scorer",
    "load": "mspt.inference.scorer",
}
__all__ = [
    "ConfigError",
    "DataError",
    "DecodeError",
    "FaceBox",
    "FaceSearch",
    "Factors",
    "ImageError",
    "MissingExtraError",
    "MissingFileError",
    "ModelError",
    "MsptError",
    "QualityScore",
    "Scored",
    "Scorer",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attributes have any type
    """Load a public name from its home."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mspt' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
