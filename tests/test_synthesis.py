"""Synthesis: damage that grows with severity, labels that follow it, data sets that repeat."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import RunCli
from numpy.random import default_rng
from PIL import Image

from mspt.arrays import RGB
from mspt.errors import ConfigError, DataError, DecodeError
from mspt.evaluation.manifest import read_manifest
from mspt.image.preprocess import resize_rgb
from mspt.synthesis import mos, pixel_ops, synthesize
from mspt.synthesis.degradations import SINGLE
from mspt.synthesis.journal import Journal, read_records
from mspt.synthesis.mixtures import MIXED
from mspt.synthesis.mos import Calibration, VisibleLoss, stored_calibration
from mspt.synthesis.phone_faults import PHONE
from mspt.synthesis.reference_metrics import DISTANCES, measure_distances
from mspt.synthesis.synthesize import (
    KINDS,
    MILD_KINDS,
    MILD_UP_TO,
    SynthesisPlan,
    draw_jobs,
    read_photos,
)

pytestmark = pytest.mark.slow

ONE_EACH = dict.fromkeys([*MIXED, "phone", "mild"], 1)
FEW = {"single": 2} | ONE_EACH
PER_PHOTO = 1 + sum(FEW.values())
PLAN = SynthesisPlan(**FEW, frame_px=128, min_side_px=128)


@pytest.mark.parametrize("kind", KINDS)
def test_a_degradation_keeps_the_shape_and_repeats_exactly(kind: str, face: RGB) -> None:
    for severity in (0.0, 1.0):
        twice = [KINDS[kind](face, severity, default_rng(7)) for _ in range(2)]
        assert twice[0].shape == face.shape or kind == "small"
        assert twice[0].dtype == np.uint8
        assert np.array_equal(*twice)
        assert not np.array_equal(twice[0], face)


def test_a_photo_made_small_stays_small(face: RGB) -> None:
    sides = [MIXED["small"](face, s, default_rng(0)).shape for s in (0.0, 0.5, 1.0)]
    assert sides == [(272, 272, 3), (106, 106, 3), (64, 64, 3)], "64 px is the least"


def test_a_fault_of_the_face_leaves_the_corners_alone(face: RGB) -> None:
    moved = PHONE["moving_face"](face, 0.8, default_rng(1))
    changed = np.abs(moved.astype(int) - face).max(axis=2)
    assert changed[150:200, 130:190].mean() > 2
    assert changed[:10, :10].max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*SINGLE, *PHONE, "photo_filter"])
def test_mos_falls_as_severity_grows(kind: str, face: RGB) -> None:
    mos = []
    for severity in (0.0, 0.33, 0.67, 1.0):
        degraded = KINDS[kind](face, severity, default_rng(3))
        distances = measure_distances(face, degraded)
        mos.append(stored_calibration().mos(distances, kind))
    assert mos == sorted(mos, reverse=True)
    assert mos[0] > mos[-1] + 0.2


@pytest.mark.slow
def test_a_sharpened_mild_enlargement_is_not_worse_than_a_stronger_one(face: RGB) -> None:
    for seed in (0, 2):  # these sharpen
        versions = [SINGLE["low_resolution"](face, s, default_rng(seed)) for s in (0, 0.25, 0.5)]
        distances = [measure_distances(face, version) for version in versions]
        mos = [stored_calibration().mos(d, "low_resolution") for d in distances]
        assert mos == sorted(mos, reverse=True), seed


def test_distances_of_an_image_to_itself_are_zero_and_its_mos_is_one(face: RGB) -> None:
    distances = measure_distances(face, face)
    assert tuple(distances) == DISTANCES
    assert max(abs(d) for d in distances.values()) < 1e-4
    assert stored_calibration().mos(distances, "jpeg") == pytest.approx(1, abs=1e-3)


def test_distances_of_unequal_shapes_are_refused(face: RGB) -> None:
    with pytest.raises(ValueError, match=r"reference \(320, 320, 3\), degraded \(160, 320, 3\)"):
        measure_distances(face, face[:160])


def test_the_calibration_recovers_its_pool() -> None:
    rng = default_rng(0)
    pool = [dict.fromkeys(DISTANCES, float(d)) for d in rng.lognormal(-2, 1, 500)]
    calibration = Calibration.fit(pool, "made up")
    mos = np.array([calibration.mos(d, "jpeg") for d in pool])
    order = np.argsort([d["vsi"] for d in pool])
    assert (np.diff(mos[order]) <= 0).all()
    assert mos.min() == 0
    assert calibration.mos(dict.fromkeys(DISTANCES, 0.0), "jpeg") == 1
    losses = np.array([calibration.loss(d) for d in pool])
    assert losses == pytest.approx(1 - mos, abs=1e-4), "without grades eyes see what metrics find"


def test_eyes_see_less_or_more_than_the_metrics_find(face: RGB) -> None:
    distances = measure_distances(face, SINGLE["haze"](face, 0.8, default_rng(0)))
    sight = {"haze": VisibleLoss(0.5, 2.0), "jpeg": VisibleLoss(1.0, 0.5)}
    calibration = replace(stored_calibration(), sight=sight)
    loss = calibration.loss(distances)
    seen = {
        kinds: 1 - calibration.mos(distances, *kinds)
        for kinds in (("haze",), ("jpeg",), ("haze", "jpeg"), ("unheard of",))
    }
    assert 0.1 < loss < 1
    assert seen["haze",] == pytest.approx(0.5 * loss**2, abs=1e-4)
    assert seen["jpeg",] == pytest.approx(loss**0.5, abs=1e-4)
    assert seen["haze", "jpeg"] == pytest.approx(0.5**0.5 * loss, abs=1e-4), "in a row: the mean"
    assert seen["unheard of",] == seen["haze", "jpeg"], "no grades: as all kinds together"
    assert VisibleLoss(1.1, 1.0).seen(1.0) == 1, "no mos below 0"


def test_the_stored_calibration_is_complete() -> None:
    stored = stored_calibration()
    assert set(stored.mu) == set(stored.sigma) == set(DISTANCES)
    assert 0 < stored.fused_low < stored.fused_reference < 1
    assert set(stored.sight) <= set(KINDS) - {"chained"}, "chains go by their kinds"
    assert len(stored.sight) > 20, "what has no grades yet goes by the others"


def test_constants_are_read_as_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mos, "_STORED", tmp_path / "calibration.json")
    before = stored_calibration()
    changed = replace(before, sight={"haze": VisibleLoss(0.5, 2.0)})
    try:
        assert mos.store_calibration(changed) == tmp_path / "calibration.json"
        assert stored_calibration() == changed != before
    finally:
        stored_calibration.cache_clear()


@pytest.mark.parametrize(
    "kernel",
    [
        pixel_ops.gaussian_kernel(2, 1, 0.5),
        pixel_ops.plateau_kernel(2, 1, 0.5, 1.5),
        pixel_ops.disk_kernel(3.2),
        pixel_ops.motion_kernel(9, 0.3),
        pixel_ops.sinc_kernel(1.5, 10),
        pixel_ops.path_kernel(np.array([-2.5, 0.0, 2.5]), np.array([1.0, 0.0, -1.0])),
    ],
    ids=["gaussian", "plateau", "disk", "motion", "sinc", "path"],
)
def test_kernels_keep_a_flat_image_flat_and_turn_about_their_centre(kernel: np.ndarray) -> None:
    assert kernel.sum() == pytest.approx(1)
    assert np.allclose(kernel, kernel[::-1, ::-1])
    flat = np.full((50, 40, 3), 77, dtype=np.uint8)
    assert (pixel_ops.convolve(flat, kernel) == 77).all()


def test_the_convolution_is_scipys(face: RGB) -> None:
    from scipy.ndimage import convolve

    kernel = pixel_ops.gaussian_kernel(2.3, 1.1, 0.4)
    small = face[:60, :50].astype(float)
    expected = np.stack([convolve(small[..., c], kernel, mode="reflect") for c in range(3)], -1)
    assert np.allclose(pixel_ops.convolve_float(small, kernel), expected)


def test_the_box_mean_is_scipys(face: RGB) -> None:
    from scipy.ndimage import uniform_filter

    small = face[:60, :50].astype(float)
    expected = uniform_filter(small, (9, 9, 1), mode="reflect")
    assert np.allclose(pixel_ops.box_mean(small, 4), expected)


def test_smoothing_wipes_texture_and_keeps_edges() -> None:
    rng = default_rng(0)
    step = np.where(np.arange(80) < 40, 60, 190)[None, :, None]
    noisy = pixel_ops.round_to_rgb(step + 4 * rng.standard_normal((80, 80, 1)) + np.zeros(3))
    smooth = pixel_ops.smooth_inside_edges(noisy, 6, 0.001).astype(float)
    assert smooth[:, 5:30].std() < noisy[:, 5:30].std() / 2
    assert smooth[:, 41:43].mean() - smooth[:, 37:39].mean() > 110


def test_the_sinc_kernel_is_built_of_the_bessel_function() -> None:
    from scipy.special import j1

    kernel = pixel_ops.sinc_kernel(2.0, 7)
    ratio = kernel[7, 9] / kernel[7, 10]
    assert ratio == pytest.approx((j1(4.0) / 2) / (j1(6.0) / 3))


def test_jobs_depend_on_the_photo_and_the_seed_alone() -> None:
    assert draw_jobs("a", PLAN) == draw_jobs("a", PLAN)
    assert draw_jobs("a", PLAN) != draw_jobs("b", PLAN)
    other = SynthesisPlan(**FEW, seed=1)
    assert draw_jobs("a", PLAN) != draw_jobs("a", other)


def test_a_later_source_leaves_the_images_of_the_earlier_ones_as_they_are() -> None:
    later = dict.fromkeys(["photo_filter", "small", "phone", "mild"], 0)
    for fewer in (later, later | {"capture": 0}):
        some = draw_jobs("a", SynthesisPlan(**FEW | fewer))
        assert some == draw_jobs("a", PLAN)[: len(some)]


def test_single_kinds_come_as_a_mild_and_a_strong_version_of_one_damage() -> None:
    jobs = draw_jobs("a", SynthesisPlan(**FEW | {"single": 60, "capture": 2}))
    singles = [job for job in jobs if job[0] == "single"]
    assert len(singles) == 60
    assert {kind for _, kind, _, _ in singles} == set(SINGLE)
    for mild, strong in zip(singles[::2], singles[1::2], strict=True):
        assert (mild[1], mild[3]) == (strong[1], strong[3])
        assert mild[2] < 0.5 <= strong[2]
    sources = ["second_order", "chained", *["capture"] * 2, "photo_filter", "small"]
    assert [job[0] for job in jobs[60:]] == [*sources, "phone", "mild"]


def test_phones_fail_in_all_ways_and_mild_damage_stays_mild() -> None:
    jobs = draw_jobs("a", SynthesisPlan(**FEW | {"phone": len(PHONE), "mild": 40}))
    assert {kind for source, kind, _, _ in jobs if source == "phone"} == set(PHONE)
    mild = [job for job in jobs if job[0] == "mild"]
    assert {kind for _, kind, _, _ in mild} == set(MILD_KINDS)
    assert 0.9 * MILD_UP_TO < max(severity for _, _, severity, _ in mild) <= MILD_UP_TO


@pytest.fixture
def photos_csv(tmp_path: Path, face: RGB) -> Path:
    """Three photos, one too small, in a list with a column to filter by."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = [("file", "identity", "split", "usage")]
    for number, side in enumerate((200, 160, 100)):
        name = f"photos/größe {side}.png"
        Image.fromarray(resize_rgb(face, side, side)).save(tmp_path / name)
        rows.append((name, f"id{number}", "train", "permissive" if number < 2 else "other"))
    with (tmp_path / "photos.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "photos.csv"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".png", ".csv")
    }


def test_synthesis_makes_a_manifest_by_contract(run_cli: RunCli, photos_csv: Path) -> None:
    options = [o for n, v in FEW.items() for o in (f"--{n.replace('_', '-')}", str(v))]
    size = ("--frame", "128", "--min-side", "128", "--gray", "0", "--workers", "2")
    done = run_cli("synthesize", photos_csv, "out", *options, *size)
    assert done.returncode == 0, done.stderr
    out = photos_csv.parent / "out"
    entries = read_manifest(out / "manifest.csv")
    assert len(entries) == 2 * PER_PHOTO  # the third photo is too small to be a reference
    assert all(entry.path.exists() for entry in entries)
    assert [e.mos for e in entries if e.source == "pristine"] == [1.0, 1.0]
    assert {e.source for e in entries} == {"pristine", "single", *ONE_EACH}
    assert all(0 <= e.mos < 1 for e in entries if e.degradation)
    records = {out / record["path"]: record for record in read_records(out)}  # as they were made
    assert records.keys() == {entry.path for entry in entries}
    chains = [(e, r) for e in entries if "chain" in (r := records[e.path])]
    assert [entry.source for entry, _ in chains] == ["chained"] * 2
    for entry, record in chains:
        assert 2 <= len(record["chain"]) <= 3
        assert set(record["chain"]) <= set(SINGLE)
        assert entry.mos == stored_calibration().mos(record["distances"], *record["chain"])
    with Image.open(out / "contact-sheet.jpg") as sheet:
        assert sheet.width == 1600

    assert f"{2 * PER_PHOTO} images of 2 photos" in done.stdout
    assert "left out: 1 of 3 photos, short side below 128 px" in done.stdout

    first = snapshot(out)
    alone = run_cli("synthesize", photos_csv, "alone", *options, *size[:-1], "1")
    assert alone.returncode == 0, alone.stderr
    assert snapshot(photos_csv.parent / "alone") == first

    other = run_cli("synthesize", photos_csv, "out", *size)
    assert other.returncode == 2
    assert (
        "holds images of another plan (single was 2, now 4, second_order was 1, now 2"
        in other.stderr
    )


def test_gray_references_are_the_best_there_can_be(photos_csv: Path) -> None:
    from dataclasses import replace

    photos = read_photos(photos_csv, {"usage": "permissive"})
    only_pristine = replace(PLAN, **dict.fromkeys(FEW, 0), gray=1)
    entries = read_manifest(
        synthesize.synthesize(photos, photos_csv.parent / "gray", only_pristine)
    )
    assert [entry.mos for entry in entries] == [1.0, 1.0]
    for entry in entries:
        rgb = np.asarray(Image.open(entry.path)).astype(int)
        assert np.ptp(rgb, axis=2).max() == 0
    with pytest.raises(ConfigError, match=r"gray is 1.5, but a share is at most 1"):
        SynthesisPlan(gray=1.5)


def test_small_photos_keep_their_size_unless_they_are_to_be_enlarged(photos_csv: Path) -> None:
    photos = read_photos(photos_csv, {})
    few = replace(PLAN, **dict.fromkeys(FEW, 0) | {"mild": 1}, min_side_px=64)
    for plan, sides in ((few, [128, 128, 100]), (replace(few, enlarge=True), [128, 128, 128])):
        out = photos_csv.parent / f"enlarged-{plan.enlarge}"
        entries = read_manifest(synthesize.synthesize(photos, out, plan))
        found = []
        for entry in entries:
            with Image.open(entry.path) as image:
                found.append(image.size)
        assert found == [(side, side) for side in sides for _ in range(2)]


def test_what_a_killed_synthesis_leaves_is_completed_to_the_same_files(photos_csv: Path) -> None:
    photos = read_photos(photos_csv, {"usage": "permissive"})
    assert [photo.identity for photo in photos] == ["id0", "id1"]
    whole = photos_csv.parent / "whole"
    synthesize.synthesize(photos, whole, PLAN)

    halved = photos_csv.parent / "halved"
    shutil.copytree(whole, halved)
    (halved / "manifest.csv").unlink()
    lines = (halved / "records.jsonl").read_text().splitlines(keepends=True)
    torn = lines[0] + lines[1] + lines[2][: len(lines[2]) // 2]  # killed while writing the second
    (halved / "records.jsonl").write_text(torn)
    first_photo = json.loads(lines[1])["photo"]
    for path in (halved / "images").iterdir():
        if not path.name.startswith(first_photo):
            path.unlink()

    seen: list[int] = []
    synthesize.synthesize(photos, halved, PLAN, on_progress=seen.append)
    assert seen == [1, 2], "the finished photo must not be made again"
    assert snapshot(halved) == snapshot(whole)
    assert len(read_records(halved)) == 2 * PER_PHOTO


def test_a_photo_that_was_replaced_is_made_again(photos_csv: Path) -> None:
    few = replace(PLAN, **dict.fromkeys(FEW, 0), gray=0)
    out, photos = photos_csv.parent / "o", read_photos(photos_csv, {})
    assert len(read_manifest(synthesize.synthesize(photos, out, few))) == 2, "one is too small"
    (small,) = (photo.path for photo in photos if photo.path.stem.endswith("100"))
    with Image.open(photos[0].path) as large:
        large.resize((130, 130)).save(small)
    seen: list[int] = []
    manifest = synthesize.synthesize(photos, out, few, on_progress=seen.append)
    assert (len(read_manifest(manifest)), seen) == (3, [2, 3])


def test_a_photo_that_cannot_be_decoded_stops_the_run_naming_it(photos_csv: Path) -> None:
    (photos_csv.parent / "photos/größe 160.png").write_bytes(b"")
    with pytest.raises(DecodeError, match="größe 160.png: the file is empty"):
        synthesize.synthesize(read_photos(photos_csv, {}), photos_csv.parent / "o", PLAN)


def test_photos_that_are_all_too_small_are_an_error(photos_csv: Path) -> None:
    plan = SynthesisPlan(min_side_px=4000)
    out, photos = photos_csv.parent / "o", read_photos(photos_csv, {})
    with pytest.raises(ConfigError, match="none of 3 photos has a short side of 4000 px or more"):
        synthesize.synthesize(photos, out, plan)
    synthesize.synthesize(photos, out, PLAN)  # a folder without an image is still free
    assert len(read_records(out)) == 2 * PER_PHOTO


def test_lists_that_cannot_be_used_say_why(photos_csv: Path) -> None:
    with pytest.raises(DataError, match="needs a column path or file and licence"):
        read_photos(photos_csv, {"licence": "MIT"})
    with pytest.raises(DataError, match=r"none of 3 rows has \{'usage': 'x'\}"):
        read_photos(photos_csv, {"usage": "x"})
    photos_csv.write_text("path\na.png\nb.png\na.png\n")
    with pytest.raises(DataError, match=r"lists 'a.png' 2 times; list every photo once"):
        read_photos(photos_csv, {})
    photos_csv.write_text("path\na02552f76dbdf5fd/0.jpg\n670009b22c087272/0.jpg\n")
    with pytest.raises(DataError, match=r"/0.jpg and .*/0.jpg would both be called 0_9b646625"):
        read_photos(photos_csv, {})
    photos_csv.write_text("path,split\na.png,Val\n")
    with pytest.raises(DataError, match="a.png: split 'Val' is none of train, val, test"):
        read_photos(photos_csv, {})
    photos_csv.write_text("identity,path\nx,a.png\ny\n")
    with pytest.raises(DataError, match="has a row without path"):
        read_photos(photos_csv, {})


def test_a_damaged_journal_names_its_line(tmp_path: Path) -> None:
    Journal(tmp_path, {})
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write('{"photo": \n')
    with pytest.raises(ConfigError, match=r"records.jsonl, line 2: damaged"):
        Journal(tmp_path, {})


def test_a_plan_that_makes_nothing_or_shrinks_to_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="single is -1, but"):
        SynthesisPlan(single=-1)
    with pytest.raises(ConfigError, match="frame_px is 16, but"):
        SynthesisPlan(frame_px=16)
