"""Make a labelled data set: pristine faces -> degraded images, `mos` and a manifest.

In:   a CSV of photos (`path` or `file`; `identity`, `split` and any other column if present).
Out:  OUT/images/*.png, OUT/manifest.csv, OUT/records.jsonl (a line per image, with its distances).

Every image draws from a generator seeded by (seed, photo, image number): neither the number of
workers nor an interruption changes it. A killed run goes on where it stopped; a finished photo's
lines in records.jsonl say so.
"""

import csv
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from mspt.arrays import RGB
from mspt.errors import ConfigError, DataError, ImageError, SynthesisError
from mspt.evaluation.manifest import SPLITS, Entry, write_manifest
from mspt.files import whole_file
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.synthesis.degradations import SINGLE
from mspt.synthesis.journal import Journal, Record
from mspt.synthesis.mixtures import MIXED, chained, chained_kinds
from mspt.synthesis.mos import stored_calibration
from mspt.synthesis.phone_faults import PHONE
from mspt.synthesis.pixel_ops import resize_to_side, to_gray
from mspt.synthesis.reference_metrics import measure_distances, prepare_worker

PRISTINE = "pristine"  # source of the references themselves; their mos is 1 by definition
SINGLE_SOURCE = "single"  # source of all one-kind degradations; mixtures are their own source
PHONE_SOURCE = "phone"  # source of all faults of phones
MILD_SOURCE = "mild"  # source of one kind of damage that is hardly seen
MILD_UP_TO = 0.45  # severity
# What eyes overlook first, and a network mistakes for detail.
MILD_KINDS = (
    "gaussian_noise", "shot_noise", "iso_noise", "gaussian_noise", "oversharpening", "jpeg", "webp",
    "low_resolution", "gaussian_blur", "defocus_blur", "motion_blur", "platform_jpeg",
)  # fmt: skip
KINDS = SINGLE | MIXED | PHONE
_ONE_KIND: Sequence[tuple[str, Sequence[str], float]] = (  # source, its kinds, highest severity
    (PHONE_SOURCE, tuple(PHONE), 1.0),
    (MILD_SOURCE, MILD_KINDS, MILD_UP_TO),
)

_VERSION = 5  # of degradations and metrics: raise it when they change, so that none are mixed


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisPlan:
    """What is made of each photo; the same plan and photos give the same files."""

    single: int = 4  # images of one kind: pairs of one kind at a low and a high severity
    second_order: int = 2
    chained: int = 2
    capture: int = 2
    photo_filter: int = 2
    small: int = 0  # at fewer pixels
    phone: int = 0  # one fault of phones
    mild: int = 0  # one kind, hardly seen
    gray: float = 0.1  # share of the photos that lose their colour before anything else
    seed: int = 0
    frame_px: int = 640  # side of the images made; smaller photos keep their own
    min_side_px: int = 600  # smaller photos are left out
    enlarge: bool = False  # smaller photos are brought to the frame before they are damaged

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        least = {"frame_px": 64, "min_side_px": 64}
        for name, value in asdict(self).items():
            if value < least.get(name, 0):
                raise ConfigError(f"{name} is {value}, but must be at least {least.get(name, 0)}")
        if self.gray > 1:
            raise ConfigError(f"gray is {self.gray}, but a share is at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One pristine photo and how it is called in the output."""

    path: Path
    name: str  # unique, safe as a file name
    identity: str
    split: str


def read_photos(path: Path, where: Mapping[str, str]) -> list[Photo]:
    """Read the CSV of photos, keeping rows whose columns equal those in `where`.

    Raises:
        DataError: if the file cannot be used or nothing is left.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}") from error
    path_column = next((name for name in ("path", "file") if name in columns), None)
    missing = [name for name in where if name not in columns]
    if path_column is None or missing:
        raise DataError(
            f"{path}: needs a column path or file{''.join(f' and {name}' for name in missing)}; "
            f"its header is {','.join(columns)!r}"
        )
    kept = [row for row in rows if all(row[name] == value for name, value in where.items())]
    if not kept:
        raise DataError(f"{path}: none of {len(rows)} rows has {dict(where)}")
    names = Counter(row[path_column] for row in kept)
    name, count = names.most_common(1)[0]
    if count > 1 or not all(names):
        problem = (
            f"lists {name!r} {count} times" if count > 1 else f"has a row without {path_column}"
        )
        raise DataError(f"{path}: {problem}; list every photo once")
    photos = [_photo_of_row(path.parent, row[path_column], row) for row in kept]
    _check_names(path, photos)
    return photos


def _check_names(path: Path, photos: Sequence[Photo]) -> None:
    """Refuse photos whose files would overwrite each other."""
    seen: dict[str, Photo] = {}
    for photo in photos:
        other = seen.setdefault(photo.name, photo)
        if other is not photo:
            raise DataError(
                f"{path}: {other.path} and {photo.path} would both be called {photo.name}; rename "
                "one of the two files"
            )


def photo_name(listed: str) -> str:
    """Return what a photo is called in the output, by how its list calls it."""
    digest = f"{zlib.crc32(listed.encode()):08x}"
    stem = "".join(c if c.isalnum() and c.isascii() else "_" for c in Path(listed).stem)
    return f"{stem[:40]}_{digest}"


def _photo_of_row(folder: Path, relative: str, row: Mapping[str, str]) -> Photo:
    name = photo_name(relative)
    split = row.get("split") or "train"
    if split not in SPLITS:
        raise DataError(f"{relative}: split {split!r} is none of {', '.join(SPLITS)}")
    return Photo(
        path=folder / relative,
        name=name,
        identity=row.get("identity") or name,
        split=split,
    )


def synthesize(
    photos: Sequence[Photo],
    out_dir: Path,
    plan: SynthesisPlan,
    *,
    workers: int = 1,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Make the data set in `out_dir` and return its manifest's path.

    Photos below `plan.min_side_px` are left out. Goes on where an earlier run with the same plan
    stopped.

    Raises:
        ConfigError: if `out_dir` holds another plan's images, or every photo is too small.
        SynthesisError: if a worker process dies.
        ImageError: if a photo cannot be decoded; nothing is guessed in its place.
    """
    journal = Journal(out_dir, {"version": _VERSION, "plan": asdict(plan)})
    todo = [photo for photo in photos if not journal.has(photo.name, _size_of(photo))]
    done = len(photos) - len(todo)
    on_progress(done)
    context = get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker) as pool:
        pending = {pool.submit(_make_images, photo, out_dir, plan): photo for photo in todo}
        try:
            for future in as_completed(pending):
                photo = pending[future]
                journal.add(photo.name, _size_of(photo), future.result())
                done += 1
                on_progress(done)
        except BrokenProcessPool as error:
            raise SynthesisError(
                f"a worker process died, perhaps for lack of memory; {done} of {len(photos)} "
                "photos are kept: run again to go on, with fewer workers"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    entries = list(_entries(photos, journal, out_dir))
    if not entries:
        raise ConfigError(
            f"none of {len(photos)} photos has a short side of {plan.min_side_px} px or more; "
            "lower the limit, and know that enlarged references make lenient labels"
        )
    manifest = out_dir / "manifest.csv"
    write_manifest(manifest, entries)
    return manifest


def _size_of(photo: Photo) -> int:
    """Return a photo's bytes, by which a replaced file is known; 0 if it is missing."""
    return photo.path.stat().st_size if photo.path.exists() else 0


def _entries(photos: Sequence[Photo], journal: Journal, out_dir: Path) -> Iterator[Entry]:
    """Yield the manifest's rows in the order of the photos, labelled by the stored constants."""
    for photo in photos:
        for image in journal.done[photo.name]:
            yield Entry(
                path=out_dir / image["path"],
                mos=_mos_of(image),
                source=image["source"],
                split=photo.split,
                identity=photo.identity,
                degradation=image["degradation"],
                severity=image["severity"],
            )


def _mos_of(image: Record) -> float:
    if image["source"] == PRISTINE:
        return 1.0
    return stored_calibration().mos(image["distances"], *kinds_of(image))


def kinds_of(image: Record) -> list[str]:
    """Return the kinds of damage in an image's record: of a chain, those in it."""
    return image.get("chain") or [image["degradation"]]


def _make_images(photo: Photo, out_dir: Path, plan: SynthesisPlan) -> list[Record]:
    """Make, save and measure all images of one photo."""
    try:
        rgb = read_rgb(photo.path)
    except ImageError as error:
        raise type(error)(f"{photo.path}: {error}") from error
    if min(rgb.shape[:2]) < plan.min_side_px:
        return []
    reference = crop_centre_square(rgb)
    side_px = plan.frame_px if plan.enlarge else min(reference.shape[0], plan.frame_px)
    reference = resize_to_side(reference, side_px)
    if _loses_colour(photo.name, plan):
        reference = to_gray(reference)
    records = [_save(photo, out_dir, 0, reference, source=PRISTINE)]
    for number, (source, kind, severity, seed) in enumerate(draw_jobs(photo.name, plan), 1):
        degrade = KINDS[kind]
        degraded = degrade(reference, severity, np.random.default_rng(seed))
        record = _save(photo, out_dir, number, degraded, source, kind, severity)
        if degrade is chained:
            record["chain"] = chained_kinds(np.random.default_rng(seed))
        shown = resize_to_side(degraded, side_px)  # as scoring enlarges what came out smaller
        records.append(record | {"distances": measure_distances(reference, shown)})
    return records


def _save(
    photo: Photo,
    out_dir: Path,
    number: int,
    rgb: RGB,
    source: str,
    kind: str = "",
    severity: float | None = None,
) -> Record:
    """Write one PNG at once (never half a file under the final name); return its record."""
    path = out_dir / "images" / f"{photo.name}_{number:02d}.png"
    with whole_file(path) as draft:
        Image.fromarray(rgb).save(draft, "PNG", compress_level=1)
    relative = path.relative_to(out_dir).as_posix()
    return {"path": relative, "source": source, "degradation": kind, "severity": severity}


_JOBS, _GRAY = 0xFFFF, 0xFFFE  # streams of a photo's own draws, apart from those of its images


def _loses_colour(photo_name: str, plan: SynthesisPlan) -> bool:
    """Tell whether a photo's reference is gray: gray photos are not bad ones."""
    rng = np.random.default_rng([plan.seed, zlib.crc32(photo_name.encode()), _GRAY])
    return bool(rng.random() < plan.gray)


Job = tuple[str, str, float, Sequence[int]]  # source, kind, severity, seed


def draw_jobs(photo_name: str, plan: SynthesisPlan) -> list[Job]:
    """Draw what is made of a photo; independent of all other photos.

    Single kinds come in pairs that share their seed, one severity in each half of 0..1, so that a
    data set can tell whether severities of one damage are put in the right order.
    """
    photo_seed = zlib.crc32(photo_name.encode())
    rng = np.random.default_rng([plan.seed, photo_seed, _JOBS])
    kinds = list(SINGLE)
    pairs = -(-plan.single // 2)
    chosen = [kinds[i % len(kinds)] for i in rng.permutation(max(pairs, len(kinds)))[:pairs]]
    jobs: list[Job] = []
    for pair, kind in enumerate(chosen):
        seed = (plan.seed, photo_seed, pair)
        jobs += [(SINGLE_SOURCE, kind, s, seed) for s in _stratified(2, rng)]
    jobs = jobs[: plan.single]
    for source in MIXED:
        count = getattr(plan, source)
        for index, severity in enumerate(_stratified(count, rng)):
            jobs.append((source, source, severity, (plan.seed, photo_seed, len(jobs), index)))
    for source, among, top in _ONE_KIND:
        count = getattr(plan, source)
        order = rng.permutation(len(among))
        for index, severity in enumerate(_stratified(count, rng)):
            kind = among[order[index % len(among)]]
            own_seed = (plan.seed, photo_seed, len(jobs), index)
            jobs.append((source, kind, round(top * severity, 3), own_seed))
    return jobs


def _stratified(count: int, rng: Generator) -> list[float]:
    """Draw one severity from each of `count` equal parts of 0..1, rounded to be readable."""
    return [round(float((i + rng.random()) / count), 3) for i in range(count)]
