"""Training: data and stages -> checkpoints -> one model file. Needs the extra `train`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mspt.training.metric import QualityMetric, load_metric

__all__ = ["QualityMetric", "load_metric"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - torch is imported only when it is needed
    if name not in __all__:
        raise AttributeError(f"module 'mspt.training' has no attribute {name!r}")
    try:
        from mspt.training import metric
    except ImportError as error:
        from mspt.errors import MissingExtraError

        raise MissingExtraError.of("train", error) from error
    return getattr(metric, name)
