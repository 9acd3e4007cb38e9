"""Does equal damage give equal scores, whoever is shown? Bins of skin tone, by the pixels.

In:   entries with kind and severity, scores, and which group each person belongs to.
Out:  the mean of each group beyond kind and severity, and the largest gap between two.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.evidence.tables import say, table

from mspt.evaluation.evaluate import Estimate, estimate
from mspt.evaluation.manifest import Entry
from mspt.evaluation.metrics import Vector
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.image.preprocess import resize_rgb

ITA_BINS = ((41, "light"), (28, "intermediate"), (10, "tan"), (-math.inf, "brown or dark"))
RESAMPLES = 1000
FRAME_PX = 640


@dataclass(frozen=True)
class Group:
    """People who have something in common: what remains beyond kind and severity."""

    people: int
    images: int
    score: Estimate
    label: Estimate


@dataclass(frozen=True)
class Groups:
    """Groups by name, and the largest difference between two of them."""

    groups: Mapping[str, Group]
    gap: Estimate
    label_gap: Estimate


@cache
def skin_tone(path: Path) -> str:
    """Return the bin of the individual typology angle of a face; "" for a gray photo.

    ITA = atan((L* - 50) / b*) in degrees (Chardon et al. 1991), of the medians over the middle of
    the square, where portraits have the face: pixels of 20 % < L* < 95 % with the reddish
    hue of skin.
    """
    from skimage.color import rgb2lab

    rgb = resize_rgb(crop_centre_square(read_rgb(path)), FRAME_PX, FRAME_PX)
    side = rgb.shape[0]
    lab = rgb2lab(rgb[int(0.3 * side) : int(0.6 * side), int(0.35 * side) : int(0.65 * side)])
    lab = lab.reshape(-1, 3)
    skin = lab[(lab[:, 0] > 20) & (lab[:, 0] < 95) & (lab[:, 1] > 3) & (lab[:, 2] > 3)]
    if len(skin) < 0.1 * len(lab):
        return ""
    lightness, _, yellow = np.median(skin, axis=0)
    ita = math.degrees(math.atan2(lightness - 50, yellow))
    return next(name for limit, name in ITA_BINS if ita > limit)


def measure_groups(test: Sequence[Entry], score: Vector, group_of: Mapping[str, str]) -> Groups:
    """Measure the mean score of each group at equal kind and severity.

    Equal severity: within each kind a straight line in severity is fitted over all groups; what
    remains of a score is averaged per group. The same for the label, which knows no groups.
    """
    chosen = [i for i, e in enumerate(test) if e.degradation and group_of.get(e.identity)]
    entries = [test[i] for i in chosen]
    group = np.array([group_of[e.identity] for e in entries])
    people = np.array([e.identity for e in entries])
    of_score = _beyond_severity(entries, score[chosen])
    of_label = _beyond_severity(entries, np.array([e.mos for e in entries]))
    names = [g for g in sorted(set(group)) if len(set(people[group == g])) >= 3]

    def measure_group(part: Any) -> Group:  # noqa: ANN401
        inside = list(people[part])
        left = [
            estimate(lambda i, v=values[part]: float(v[i].mean()), inside, RESAMPLES)
            for values in (of_score, of_label)
        ]
        return Group(len(set(inside)), len(inside), *left)

    def gap(i: Any, values: Vector) -> float:  # noqa: ANN401
        means = [values[i][group[i] == g].mean() for g in names if (group[i] == g).any()]
        return float(max(means) - min(means)) if len(means) > 1 else math.nan

    gaps = [
        estimate(lambda i, v=values: gap(i, v), list(people), RESAMPLES)
        for values in (of_score, of_label)
    ]
    return Groups({name: measure_group(np.flatnonzero(group == name)) for name in names}, *gaps)


def _beyond_severity(entries: Sequence[Entry], values: Vector) -> Vector:
    rest = values.copy()
    kinds = np.array([e.degradation for e in entries])
    severity = np.array([e.severity or 0.0 for e in entries])
    for kind in set(kinds):
        part = kinds == kind
        slope = np.polyfit(severity[part], values[part], 1)
        rest[part] -= np.polyval(slope, severity[part])
    return rest


def groups_table(name: str, found: Groups) -> Iterator[str]:
    """Yield the mean score of each group at equal kind and severity, and the largest gap."""
    rows = [
        [title, str(g.people), str(g.images), say(g.score, "+.3f"), say(g.label, "+.3f")]
        for title, g in found.groups.items()
    ]
    rows.append(["**largest gap**", "", "", say(found.gap), say(found.label_gap)])
    head = ["group", "people", "images", f"`{name}` beyond severity", "label beyond severity"]
    yield from table(head, rows)
