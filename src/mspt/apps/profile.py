"""What a model costs, measured and read from its file."""

import json
import time
from dataclasses import asdict, dataclass
from statistics import median

import numpy as np

from mspt.inference.models import find_model
from mspt.inference.session import Session
from mspt.training.budget import Cost

_WARM_UP, _RUNS = 5, 30  # timed calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model's cost."""

    model: str  # name@version
    params: int
    gflops: float  # by fvcore, as stored at export
    short_side: int  # px
    size_bytes: int  # of the file
    ms: float  # median of one image through the network, one thread

    @property
    def cost(self) -> Cost:
        """What a budget limits."""
        return Cost(params=self.params, gflops=self.gflops)

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(asdict(self))


def profile_model(model: str) -> Profile:
    """Read and time a model.

    Raises:
        ModelError: if it cannot be loaded.
    """
    path = find_model(model)
    session = Session(path)
    info = session.info
    side = info.spec.crop_side
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    times = []
    for _ in range(_WARM_UP + _RUNS):
        started = time.perf_counter()
        session.score_rgb(noise)
        times.append(time.perf_counter() - started)
    return Profile(
        model=info.label,
        params=info.params,
        gflops=info.gflops,
        short_side=info.spec.short_side,
        size_bytes=path.stat().st_size,
        ms=round(1000 * median(times[_WARM_UP:]), 2),
    )


def to_text(measured: Profile) -> str:
    """Return the profile as a small table."""
    return "\n".join(
        (
            f"model       {measured.model}",
            f"parameters  {measured.params:,}",
            f"GFLOPs      {measured.gflops} (fvcore, one image)",
            f"short side  {measured.short_side} px",
            f"file        {measured.size_bytes:,} bytes",
            f"time        {measured.ms} ms an image, one thread",
        )
    )
