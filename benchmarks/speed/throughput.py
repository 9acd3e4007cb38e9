"""Images per second on this machine: ours, the naive peers, and the bound; interleaved rounds.

    python -m benchmarks.speed.throughput [--rounds 5] [--seconds 2] [--json FILE] [--chart FILE]
        [--before CHECKOUT]

On JPEGs of 512, 1024 and 4000 x 3000 px made from astronaut.png, with one core and with all:
- naive peers: PIL + torch EdgeNeXt-XXS at 352 px (timm), one by one, as Efficient-FIQA's test
  script does; PIL + torch MSPT at 640 px; PIL + onnxruntime as it comes;
- ours: `base` in fp32 and in bf16 (openvino), `fast`, and `base` on faces found (needs a detector:
  MSPT_DETECTOR=FILE);
- the bound: decode + resize alone, inference alone, and what both allow together when nothing else
  costs time.
`--before` also runs ours from another checkout of this repo.
Speed does not depend on weights: the peers have random ones.

Each runner is a process of its own, bound to its cores, and waits for its turn; so every round
meets all of them in the same minute. Prints a table per photo size with medians and ranges.
"""

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples/astronaut.png"
SIZES = {"512": (512, 512), "1024": (1024, 1024), "12 MP": (4000, 3000)}
VARIANTS = 8  # different files of each size

PEERS = {
    "winner": "PIL + torch EdgeNeXt-XXS, 352 px",
    "naive": "PIL + torch MSPT, 640 px",
    "naive-ort": "PIL + onnxruntime MSPT, 640 px",
}
OURS = {
    "base": "mspt base, fp32",
    "bf16": "mspt base, bf16",
    "fast": "mspt fast, fp32",
    "detect": "mspt base, faces found",
}
ALONE = {"prepare": "decode + resize alone", "infer": "inference alone (base, fp32)"}
BEFORE = "before-"  # goes before the names of ours when they run from another checkout

Score = Callable[[Iterator[Path]], Iterator[Any]]


def make_photos(folder: Path) -> dict[str, list[Path]]:
    """Write the JPEGs, quality 90, each a little different; return them by size."""
    original = Image.open(PHOTO).convert("RGB")
    made: dict[str, list[Path]] = {}
    for name, size_wh in SIZES.items():
        made[name] = []
        for number in range(VARIANTS):
            box = (number, number, 512 - number, 512 - number)
            path = folder / f"{size_wh[0]}-{number}.jpg"
            resized = original.resize(size_wh, Image.Resampling.BICUBIC, box=box)
            resized.save(path, quality=90)
            made[name].append(path)
    return made


# ---- the runners, each in a process of its own ----


def naive_torch(network: Any, side: int, resample: Image.Resampling) -> Score:  # noqa: ANN401
    """Return the loop that people write first: open, resize, crop, to tensor, one by one."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    network.eval()

    @torch.no_grad()
    def score(path: Path) -> float:
        image = Image.open(path).convert("RGB")
        scale = side / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), resample)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return float(network(((pixels - mean) / std)[None]))

    return lambda paths: map(score, paths)


def naive_onnxruntime() -> Score:
    """Return the loop that people write who have a model file: session defaults, one by one."""
    import onnxruntime

    from mspt.inference.models import find_model

    session = onnxruntime.InferenceSession(str(find_model("base")))

    def score(path: Path) -> float:
        image = Image.open(path).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        rgb = np.array(image.resize((640, 640), Image.Resampling.BICUBIC, box=box))
        return float(session.run(None, {"rgb": rgb[None]})[0][0])

    return lambda paths: map(score, paths)


def open_peer(name: str) -> Score:
    """Return a peer that scores a stream of paths."""
    if name == "naive-ort":
        return naive_onnxruntime()
    from mspt.training.backbones import build_network

    if name == "winner":
        network = build_network("timm:edgenext_xx_small")
        return naive_torch(network, 352, Image.Resampling.BILINEAR)
    return naive_torch(build_network("mspt"), 640, Image.Resampling.BICUBIC)


def open_ours(name: str) -> Score:
    """Return this project's scorer, as users call it."""
    from mspt.inference.faces import FaceSearch
    from mspt.inference.scorer import Scorer

    model = "fast" if name == "fast" else "base"
    scorer = Scorer(model, backend="openvino" if name == "bf16" else "onnxruntime")
    faces = FaceSearch() if name == "detect" else None
    return lambda paths: scorer.score_many(paths, faces=faces)


def open_part(name: str) -> Score:
    """Return one part of scoring alone, on all cores."""
    from mspt.image.decode import read_rgb
    from mspt.image.preprocess import prepare_rgb
    from mspt.inference.models import find_model
    from mspt.inference.session import Session
    from mspt.parallel import freed_memory_kept, map_in_order, usable_cores

    session = Session(find_model("base"))
    rgb = prepare_rgb(read_rgb(PHOTO), session.info.spec)

    def do(path: Path) -> object:
        if name == "infer":
            return session.score_rgb(rgb)
        return prepare_rgb(read_rgb(path), session.info.spec)

    def run(paths: Iterator[Path]) -> Iterator[object]:
        with freed_memory_kept():
            yield from map_in_order(do, paths, workers=usable_cores())

    return run


def open_runner(name: str) -> Score:
    """Return what scores a stream of paths."""
    if name in PEERS:
        return open_peer(name)
    return open_part(name) if name in ALONE else open_ours(name.removeprefix(BEFORE))


def serve(name: str, cores: int) -> None:
    """Measure on request: a JSON list of [seconds, paths] in, images per second out."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:cores]))
    score = open_runner(name)
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, paths = json.loads(line)
        stream = score(itertools.cycle(map(Path, paths)))
        next(stream)  # the first one fills caches and the pipeline
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            next(stream)
            done += 1
        speed = done / (time.perf_counter() - started)
        getattr(stream, "close", lambda: None)()
        print(json.dumps(speed), flush=True)


class Runner:
    """The parent's end of one runner."""

    def __init__(self, name: str, cores: int, before: Path | None) -> None:
        command = [sys.executable, __file__, "--serve", name, str(cores)]
        environment = dict(os.environ)
        if before and name.startswith(BEFORE):
            environment["PYTHONPATH"] = str(before / "src")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.read()

    def read(self) -> str:
        """Return the child's next line."""
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args} died")
        return line

    def measure(self, seconds: float, paths: Sequence[Path]) -> float:
        """Return images per second."""
        self.process.stdin.write(json.dumps([seconds, [str(path) for path in paths]]) + "\n")
        self.process.stdin.flush()
        return float(self.read())


# ---- the report ----


RATIOS = (
    ("base", "winner"),
    ("bf16", "winner"),
    ("fast", "winner"),
    ("base", "naive"),
    ("base", "naive-ort"),
    ("base", "infer"),
    ("base", "bound"),
    ("base", "before-base"),
    ("bf16", "before-base"),
    ("fast", "before-fast"),
    ("detect", "before-detect"),
)


def ratios(speeds: dict[str, list[float]]) -> dict[str, float]:
    """Return what the project promises, as medians of the rounds' ratios."""
    return {
        f"{above} / {below}": median(
            a / b for a, b in zip(speeds[above], speeds[below], strict=True)
        )
        for above, below in RATIOS
        if above in speeds and below in speeds
    }


def add_bound(speeds: dict[str, list[float]]) -> None:
    """Add what decode + resize and inference allow together, on the same cores."""
    pairs = zip(speeds["prepare"], speeds["infer"], strict=True)
    speeds["bound"] = [1 / (1 / prepare + 1 / infer) for prepare, infer in pairs]


def to_text(found: dict[str, dict[str, list[float]]], cores: int) -> Iterator[str]:
    """Yield the tables of one number of cores."""
    titles = PEERS | OURS | {f"{BEFORE}{name}": f"before: {title}" for name, title in OURS.items()}
    titles |= ALONE | {"bound": "the bound: both together"}
    yield f"\nimages/s, {cores} core{'s' if cores > 1 else ''}: median (range)\n"
    yield f"| | {' | '.join(found)} |"
    yield f"|---|{'---|' * len(found)}"
    measured = next(iter(found.values()))
    for name, title in ((n, t) for n, t in titles.items() if n in measured):
        cells = [
            f"{median(s[name]):.1f} ({min(s[name]):.1f} .. {max(s[name]):.1f})"
            for s in found.values()
        ]
        yield f"| {title} | {' | '.join(cells)} |"
    promised = [ratios(speeds) for speeds in found.values()]
    for name in promised[0]:
        yield f"| {name} | {' | '.join(f'{r[name]:.2f}' for r in promised)} |"


def draw(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Write the bar chart: images per second with all cores."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shown = PEERS | {name: OURS[name] for name in ("base", "bf16", "fast")}
    colors = ["#b0b7bf"] * len(PEERS) + ["#1f6feb", "#1158c7", "#54aeff"]
    figure, axes = plt.subplots(1, len(found), figsize=(9, 2.6), sharey=True)
    for axis, (size, speeds) in zip(axes, found.items(), strict=True):
        values = [median(speeds[name]) for name in shown]
        bars = axis.barh(list(shown.values()), values, color=colors)
        axis.bar_label(bars, fmt="%.0f", padding=3)
        axis.set_title(f"{size} JPEG" if "MP" in size else f"{size} px JPEG", fontsize=10)
        axis.set_xlim(0, 1.2 * max(values))
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlabel("images/s")
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=140)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="per runner, size and round")
    parser.add_argument("--json", type=Path, help="write every single measurement")
    parser.add_argument("--chart", type=Path, help="write a bar chart (PNG)")
    parser.add_argument("--before", type=Path, help="another checkout, with its resize installed")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], int(options.serve[1]))
        return
    every_core = len(os.sched_getaffinity(0))
    print(f"{platform.processor() or platform.machine()}, {every_core} cores, {date.today()}")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        photos = make_photos(Path(folder))
        for cores in sorted({every_core, 1}, reverse=True):
            found = measure(photos, cores, options)
            print("\n".join(to_text(found, cores)), flush=True)
            results[cores] = found
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.chart:
        draw(results[every_core], options.chart)


def measure(
    photos: dict[str, list[Path]], cores: int, options: argparse.Namespace
) -> dict[str, dict[str, list[float]]]:
    """Return images per second: by photo size, by runner, a value per round."""
    ours = [name for name in OURS if name != "detect" or os.environ.get("MSPT_DETECTOR")]
    before = [f"{BEFORE}{n}" for n in ours if n != "bf16"] if options.before else []
    names = [*PEERS, *ours, *before, *ALONE]
    runners = {name: Runner(name, cores, options.before) for name in names}
    found = {size: {name: [] for name in names} for size in photos}
    for _, size, name in itertools.product(range(options.rounds), photos, names):
        found[size][name].append(runners[name].measure(options.seconds, photos[size]))
    for runner in runners.values():
        runner.process.kill()
    for speeds in found.values():
        add_bound(speeds)
    return found


if __name__ == "__main__":
    main()
