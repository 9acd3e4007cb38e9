"""What a model costs, measured and read from its file, and whether that fits a budget."""

import json
import re
import time
from dataclasses import asdict, dataclass
from statistics import median

import numpy as np

from mspt.errors import ConfigError
from mspt.inference.models import find_model
from mspt.inference.session import Session

_WARM_UP, _RUNS = 5, 30  # timed calls
_FACTORS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model's cost."""

    model: str  # name@version
    params: int
    gflops: float  # by fvcore, as stored at export
    short_side: int  # px
    size_bytes: int  # of the file
    ms: float  # median of one image through the network, one thread

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper limits."""

    gflops: float
    params: float


def parse_budget(text: str) -> Budget:
    """Read a budget such as `0.5G,5M`: FLOPs, then parameters.

    Raises:
        ConfigError: if the text is of another form.
    """
    parts = text.upper().split(",")
    numbers = [re.fullmatch(r"(\d+\.?\d*)([KMG]?)", part.strip()) for part in parts]
    if len(numbers) != 2 or None in numbers:
        raise ConfigError(f"budget {text!r} is not of the form FLOPS,PARAMS such as 0.5G,5M")
    flops, params = (float(n[1]) * _FACTORS[n[2]] for n in numbers if n)
    return Budget(gflops=flops / 1e9, params=params)


def over_budget(measured: Profile, budget: Budget) -> str:
    """Return what exceeds the budget, in words; empty if nothing does."""
    excess = []
    if measured.gflops > budget.gflops:
        excess.append(f"{measured.gflops} GFLOPs > {budget.gflops:g}")
    if measured.params > budget.params:
        excess.append(f"{measured.params} parameters > {budget.params:.0f}")
    return ", ".join(excess)


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
