"""Does each factor follow its own damage, and leave the others alone? And what does it cost?

    python -m benchmarks.studies.factors FACES.csv --where split=val --where set=pristine

Every photo is damaged in every kind of `mspt synthesize` at five severities. Printed as Markdown:
per kind and factor Kendall's tau with severity (0 included; mean over photos) and the median at
severity 0.9; how often a reason is given; the same tau for rejected estimators; CPU ms of each.
"""

import argparse
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau
from skimage.measure import blur_effect

from mspt.arrays import RGB
from mspt.cli.options import read_conditions
from mspt.image import factors as measured
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.image.factors import Gray, explain, load_reference, luma_of, measure_factors
from mspt.image.preprocess import resize_rgb
from mspt.synthesis.degradations import SINGLE
from mspt.synthesis.synthesize import Photo, read_photos

FRAME_PX = 640
MIN_SIDE_PX = 600
SEVERITIES = (0.1, 0.3, 0.5, 0.7, 0.9)
WORST = SEVERITIES[-1]
NO_DAMAGE = "undamaged"
NO_SCORE = 0.5  # neither good nor poor: reasons by the factors alone
MEASURES = (
    "sharpness", "noise", "blockiness", "brightness", "contrast", "colour_cast", "uneven_light",
)  # fmt: skip

Values = Mapping[str, float]


def laplacian_variance(luma: Gray) -> float:
    """Return the usual sharpness: the variance of the Laplacian."""
    beside = luma[1:-1, 2:] + luma[1:-1, :-2] + luma[2:, 1:-1] + luma[:-2, 1:-1]
    return float((beside - 4 * luma[1:-1, 1:-1]).var())


def tenengrad(luma: Gray) -> float:
    """Return the mean squared gradient."""
    x, y = luma[1:-1, 2:] - luma[1:-1, :-2], luma[2:, 1:-1] - luma[:-2, 1:-1]
    return float((x**2 + y**2).mean())


def immerkaer(luma: Gray) -> float:
    """Return Immerkaer's noise as published: the mean over the whole picture."""
    response = np.abs(np.diff(np.diff(luma, 2, axis=0), 2, axis=1))
    return float(np.sqrt(np.pi / 2) / 6 * response.mean())


def spectral_blockiness(luma: Gray) -> float:
    """Return the excess of step energy at periods of 8 px, after Wang, Bovik & Evans (2000)."""
    return (_peaks(luma) + _peaks(luma.T)) / 2


def _peaks(luma: Gray) -> float:
    lines = np.abs(np.diff(luma, axis=1))[:, : (luma.shape[1] - 1) // 128 * 128].reshape(-1, 128)
    power = (np.abs(np.fft.rfft(lines, axis=1)) ** 2).mean(axis=0)
    excess = [power[i] - np.median(power[i - 4 : i + 5]) for i in (16, 32, 48, 64)]
    return float(sum(max(0.0, value) for value in excess) / (power[1:].sum() + 1))


REJECTED: dict[str, Callable[[Gray], float]] = {
    "variance of Laplacian": laplacian_variance,
    "Tenengrad": tenengrad,
    "1 - skimage blur_effect": lambda luma: 1 - float(blur_effect(luma / 255)),
    "Immerkaer, whole picture": immerkaer,
    "Wang-Bovik-Evans spectrum": spectral_blockiness,
    "mean luma": lambda luma: float(luma.mean() / 255),
    "RMS contrast": lambda luma: float(luma.std() / 255),
}
try:
    import pywt  # noqa: F401 - what estimate_sigma needs, and mspt does not
    from skimage.restoration import estimate_sigma

    REJECTED["skimage estimate_sigma"] = lambda luma: float(estimate_sigma(luma))
except ImportError:
    pass


def ladder(photo: Photo) -> dict[tuple[str, float], RGB]:
    """Return the photo undamaged and in every kind of damage, by kind and severity."""
    rgb = resize_rgb(crop_centre_square(read_rgb(photo.path)), FRAME_PX, FRAME_PX)
    seed = zlib.crc32(photo.name.encode())
    return {(NO_DAMAGE, 0.0): rgb} | {
        (kind, severity): damage(rgb, severity, np.random.default_rng(seed))
        for kind, damage in SINGLE.items()
        for severity in SEVERITIES
    }


def measure_all(rgb: RGB) -> dict[str, float]:
    """Return factors and rejected estimators of one image."""
    factors, luma = measure_factors(rgb, rgb), luma_of(rgb)
    ours = {name: float(getattr(factors, name)) for name in MEASURES}
    return ours | {name: estimate(luma) for name, estimate in REJECTED.items()}


class Study:
    """Values and reasons of every image of every ladder."""

    def __init__(self, photos: Sequence[Photo]) -> None:
        """Damage and measure."""
        reference = load_reference(FRAME_PX)
        self.values: dict[tuple[str, float], list[Values]] = defaultdict(list)
        self.reasons: dict[tuple[str, float], list[tuple[str, ...]]] = defaultdict(list)
        for photo in photos:
            for step, rgb in ladder(photo).items():
                self.values[step].append(measure_all(rgb))
                found = explain(measure_factors(rgb, rgb), reference, NO_SCORE)
                self.reasons[step].append(tuple(reason.words for reason in found))

    def median(self, name: str, kind: str, severity: float) -> float:
        """Return one measure's median over the photos."""
        return float(np.median([values[name] for values in self.values[kind, severity]]))

    def tau(self, name: str, kind: str) -> float:
        """Return Kendall's tau of a measure with the severity, mean over the photos."""
        steps = [self.values[NO_DAMAGE, 0.0], *(self.values[kind, s] for s in SEVERITIES)]
        series = zip(*([values[name] for values in step] for step in steps), strict=True)
        taus = [kendalltau(range(len(steps)), values).statistic for values in series]
        return float(np.nan_to_num(taus).mean())  # a measure that never moves has tau 0

    def share(self, kind: str, severity: float, words: str) -> float:
        """Return how often a reason is given."""
        return float(np.mean([words in given for given in self.reasons[kind, severity]]))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print Markdown."""
    print()
    for row in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(row)} |")


def print_behaviour(study: Study, names: Sequence[str]) -> None:
    """Print tau and the value at the worst severity, per kind of damage."""
    undamaged = [f"{study.median(name, NO_DAMAGE, 0.0):.3g}" for name in names]
    rows = [
        [kind]
        + [
            f"{study.tau(name, kind):+.2f} ({study.median(name, kind, WORST):.3g})"
            for name in names
        ]
        for kind in SINGLE
    ]
    print_table(["damage", *names], [[NO_DAMAGE, *undamaged], *rows])


def print_reasons(study: Study) -> None:
    """Print how often each reason is given, per kind of damage at three severities."""
    words = [cause.reason.words for cause in measured.CAUSES]
    steps = (SEVERITIES[0], SEVERITIES[2], WORST)
    rows = [[NO_DAMAGE, *(f"{study.share(NO_DAMAGE, 0.0, word):.2f}" for word in words)]]
    for kind in SINGLE:
        cells = ["/".join(f"{study.share(kind, s, word):.2f}" for s in steps) for word in words]
        rows.append([kind, *("" if set(cell) <= set("0./") else cell for cell in cells)])
    print_table([f"reasons at severity {'/'.join(map(str, steps))}", *words], rows)


def cpu_ms(work: Callable[[], object], repeats: int = 60) -> str:
    """Return the median CPU time of one call: other work on the machine disturbs it less."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - start))
    return f"{np.median(times):.1f}"


def print_costs(rgb: RGB) -> None:
    """Print CPU ms of each factor and of each rejected estimator."""
    luma = luma_of(rgb)
    own = {name: getattr(measured, f"measure_{name}") for name in MEASURES}
    work: dict[str, Callable[[], object]] = {
        "all factors": lambda: measure_factors(rgb, rgb),
        "luma": lambda: luma_of(rgb),
    }
    for name, estimate in (own | REJECTED).items():
        work[name] = partial(estimate, rgb if name == "colour_cast" else luma)
    print_table(["measure", "CPU ms"], [[name, cpu_ms(run)] for name, run in work.items()])


def main() -> None:
    """Print the four tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE")
    parser.add_argument("--count", type=int, default=16, help="of photos, spread over the list")
    options = parser.parse_args()
    photos = read_photos(options.photos, read_conditions(options.where))
    large = [photo for photo in photos if min(read_rgb(photo.path).shape[:2]) >= MIN_SIDE_PX]
    chosen = large[:: max(1, len(large) // options.count)][: options.count]
    print(f"{len(chosen)} photos of {len({photo.identity for photo in chosen})} people")
    study = Study(chosen)
    print_behaviour(study, MEASURES)
    print_reasons(study)
    print_behaviour(study, list(REJECTED))
    print_costs(ladder(chosen[0])[NO_DAMAGE, 0.0])


if __name__ == "__main__":
    main()
