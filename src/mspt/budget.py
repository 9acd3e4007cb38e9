"""What a network costs, and whether a budget allows it. Needs no torch: training/cost.py counts."""

import re
from dataclasses import dataclass

from mspt.errors import ConfigError

_FACTORS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one image costs."""

    params: int
    gflops: float


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper limits."""

    gflops: float
    params: float

    def excess(self, cost: Cost) -> str:
        """Return what exceeds the budget, in words with both values; empty if nothing does."""
        found = []
        if cost.gflops > self.gflops:
            found.append(f"{cost.gflops} GFLOPs > {self.gflops:g}")
        if cost.params > self.params:
            found.append(f"{cost.params} parameters > {self.params:.0f}")
        return ", ".join(found)


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
