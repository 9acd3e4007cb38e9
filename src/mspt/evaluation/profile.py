"""What a model costs, and what each backend makes of it on this machine."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from statistics import median

import numpy as np

from mspt.arrays import RGB
from mspt.budget import Cost
from mspt.image.preprocess import resize_rgb
from mspt.inference.models import find_model
from mspt.inference.session import Session
from mspt.parallel import map_in_order, usable_cores

_RUNS = 32  # timed calls
_TRIALS = 8  # made images on which backends are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendProfile:
    """One backend on this machine."""

    backend: str
    precision: str
    ms: float  # median of one image through the network, one thread
    images_per_s: float  # through the network, all cores
    difference: float  # largest from onnxruntime's score, on made images


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model's cost."""

    model: str  # name@version
    params: int
    gflops: float  # by fvcore, as stored at export
    short_side: int  # px
    size_bytes: int  # of the file
    ms: float  # median of one image through the network, one thread, default backend
    cores: int  # that this process may use
    backends: tuple[BackendProfile, ...]  # those that are installed, the default first

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
    images = _make_images(info.spec.crop_side)
    expected = [session.score_rgb(image) for image in images]
    sessions = [session]
    if find_spec("openvino"):
        sessions.append(Session(path, "openvino"))
    backends = tuple(_profile_backend(one, images, expected) for one in sessions)
    return Profile(
        model=info.label,
        params=info.params,
        gflops=info.gflops,
        short_side=info.spec.short_side,
        size_bytes=path.stat().st_size,
        ms=backends[0].ms,
        cores=usable_cores(),
        backends=backends,
    )


def _make_images(side_px: int) -> list[RGB]:
    """Return noise from fine to coarse: pictures that differ in what a network looks at."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(_TRIALS):
        small = max(2, side_px >> number)
        noise = rng.integers(0, 256, (small, small, 3), dtype=np.uint8)
        made.append(resize_rgb(noise, side_px, side_px))
    return made


def _profile_backend(
    session: Session, images: Sequence[RGB], expected: Sequence[float]
) -> BackendProfile:
    scores = [session.score_rgb(image) for image in images]  # also the warm-up
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        session.score_rgb(images[0])
        times.append(time.perf_counter() - started)
    cores = usable_cores()
    started = time.perf_counter()
    done = list(
        map_in_order(session.score_rgb, [*images] * (_RUNS // _TRIALS * cores), workers=cores)
    )
    return BackendProfile(
        backend=session.backend,
        precision=session.precision,
        ms=round(1000 * median(times), 2),
        images_per_s=round(len(done) / (time.perf_counter() - started), 1),
        difference=float(np.abs(np.subtract(scores, expected)).max()),
    )


def to_text(measured: Profile) -> str:
    """Return the profile as two small tables."""
    lines = [
        f"model       {measured.model}",
        f"parameters  {measured.params:,}",
        f"GFLOPs      {measured.gflops} (fvcore, one image)",
        f"short side  {measured.short_side} px",
        f"file        {measured.size_bytes:,} bytes",
        f"time        {measured.ms} ms an image, one thread",
        "",
        f"backend      precision  ms, one thread  images/s, {measured.cores} cores  "
        "largest difference from onnxruntime",
    ]
    lines += [
        f"{b.backend:12} {b.precision:9} {b.ms:15.2f} {b.images_per_s:18.1f}  {b.difference:.1e}"
        for b in measured.backends
    ]
    if len(measured.backends) == 1:
        lines.append(
            "openvino is not installed; processors that compute in bf16 may be 1.4 times as fast: "
            'pip install -c constraints.txt ".[fast]"'
        )
    return "\n".join(lines)
