"""mspt: how good does a face photo look?

    import mspt
    mspt.load().score("selfie.jpg").score    # 0..1, higher looks better

Public names are loaded when first used, so that `import mspt` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mspt.errors import ImageError, ModelError, MsptError
    from mspt.inference.scorer import Scorer, load
    from mspt.results import QualityScore

__version__ = "0.1.0"  # of the package and its metadata

__all__ = [
    "ImageError",
    "ModelError",
    "MsptError",
    "QualityScore",
    "Scorer",
    "__version__",
    "load",
]

_HOMES = {
    "ImageError": "mspt.errors",
    "ModelError": "mspt.errors",
    "MsptError": "mspt.errors",
    "QualityScore": "mspt.results",
    "Scorer": "mspt.inference.scorer",
    "load": "mspt.inference.scorer",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attributes have any type
    """Load a public name from its home."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mspt' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
