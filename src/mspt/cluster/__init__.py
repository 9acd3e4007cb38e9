"""Layer 6: the same scoring on a Ray cluster, part by part, for more photos than one machine holds.

    from mspt.cluster import score
    score(["s3://bucket/shards"], "s3://bucket/scores")

plan.py says which photos belong to which part, storage.py reads and writes wherever they lie,
parts.py scores one part, job.py hands the parts to Ray.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mspt.cluster.job import score

__all__ = ["score"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attributes have any type
    """Load `score` when it is first used: it needs the extra [cluster]."""
    if name != "score":
        raise AttributeError(f"module 'mspt.cluster' has no attribute {name!r}")
    from mspt.cluster.job import score

    return score


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
