"""Training images: what scoring sees, drawn in a fixed order, moved and mirrored only."""

import errno
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.random import default_rng

from mspt.arrays import RGB
from mspt.errors import DataError, WriteError
from mspt.evaluation.manifest import read_manifest
from mspt.image.decode import read_rgb
from mspt.image.preprocess import prepare_rgb, resize_rgb
from mspt.spec import square_spec
from mspt.training import frames as frames_module
from mspt.training.batches import BatchSource, Pool, Shard, another_view, augment, to_pixels
from mspt.training.config import Stage, StageConfig
from mspt.training.frames import Frames, build_frames, check_images
from mspt.training.mild_damage import (
    add_mild_damage,
    share_lost_by_grain,
    share_lost_by_reducing,
    take_pixels,
)


def test_frames_are_what_scoring_sees(manifest: Path, tmp_path: Path) -> None:
    entries = read_manifest(manifest)
    frames = build_frames(entries, square_spec(64), tmp_path / "cache")
    assert frames.rgb.shape == (24, 64, 64, 3)
    for index in (0, 23):
        expected = prepare_rgb(read_rgb(entries[index].path), square_spec(64))
        assert np.array_equal(frames.rgb[index], expected)
    cached = next((tmp_path / "cache").glob("*.npy"))
    before = cached.stat().st_mtime_ns
    build_frames(entries, square_spec(64), tmp_path / "cache")
    assert cached.stat().st_mtime_ns == before, "prepared frames must be found again"


def test_broken_images_are_all_named_at_the_start(manifest: Path, tmp_path: Path) -> None:
    entries, cache = read_manifest(manifest), tmp_path / "seen.txt"
    check_images(entries, cache)
    for name in ("5.png", "7.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 24 images cannot be used: .*5.png: the file is e"):
        check_images(entries, cache)
    (tmp_path / "5.png").unlink()
    with pytest.raises(DataError, match=r"1 of 24 images .*5.png: no such file"):
        check_images(entries, cache)


def test_images_found_whole_are_not_read_again(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, cache = read_manifest(manifest), tmp_path / "seen.txt"
    check_images(entries[:20], cache)
    read: list[Path] = []
    monkeypatch.setattr(frames_module, "read_rgb", read.append)
    check_images(entries, cache)
    assert sorted(read) == sorted(entry.path for entry in entries[20:])


def test_frames_that_the_disk_cannot_hold_are_refused_at_once(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, cache = read_manifest(manifest), tmp_path / "cache"
    wanted = r"cache: prepared images need \d+ kB, but 0 kB are free; make room, or put the run"

    def refuse(descriptor: int, offset: int, length: int) -> None:
        assert (offset, length) == (0, 24 * 64 * 64 * 3 + 128), "pixels, and the header of .npy"
        raise OSError(errno.ENOSPC, "No space left on device")

    full = SimpleNamespace(free=0)
    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    monkeypatch.setattr(frames_module.shutil, "disk_usage", lambda folder: full)
    with pytest.raises(WriteError, match=wanted):
        build_frames(entries, square_spec(64), cache)
    full.free = 10**6  # enough when it is looked at, taken before it is reserved
    with pytest.raises(WriteError, match="prepared images need"):
        build_frames(entries, square_spec(64), cache)
    assert not list(cache.glob("frames*")), "no half file is left"


def test_an_image_that_breaks_later_is_named_not_replaced(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "5.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"5.png: the file is empty; repair the image"):
        build_frames(read_manifest(manifest), square_spec(64), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("frames*")), (
        "half prepared frames would never be used"
    )


def test_a_full_disk_is_foreseen(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_module, "frames_bytes", lambda count, side_px: 10**18)
    with pytest.raises(WriteError, match=r"cache: prepared images need 1000000000.0 GB, but"):
        build_frames(read_manifest(manifest), square_spec(64), tmp_path / "cache")


def stage(**settings: object) -> StageConfig:
    plain = {"short_side": 32, "sources": ["a", "b"], "steps": 100, "batch": 4, "peak_lr": 1e-3}
    return StageConfig.model_validate(plain | settings)


@pytest.fixture
def frames(manifest: Path, tmp_path: Path) -> Frames:
    """24 images; every third is of source b, the others of a."""
    return build_frames(read_manifest(manifest), square_spec(32), tmp_path / "cache")


def test_an_epoch_sees_every_image_once(frames: Frames) -> None:
    source = BatchSource(frames, Stage(1, stage()), seed=0)
    draws = [source.draw(step) for step in range(12)]
    for epoch in (draws[:6], draws[6:]):
        seen = torch.cat([batch.mos for batch in epoch]).tolist()
        assert sorted(seen) == pytest.approx(sorted(frames.mos.tolist()))
    assert draws[0].mos.tolist() != draws[6].mos.tolist()
    assert torch.equal(source.draw(3).rgb, draws[3].rgb)
    other = BatchSource(frames, Stage(2, stage()), seed=0).draw(0)
    assert other.mos.tolist() != draws[0].mos.tolist()


def test_a_batch_that_straddles_two_epochs_loses_nothing(frames: Frames) -> None:
    source = BatchSource(frames, Stage(1, stage(batch=10)), seed=0)
    seen = torch.cat([source.draw(step).mos for step in range(12)]).tolist()
    assert sorted(seen) == pytest.approx(sorted(5 * frames.mos.tolist()))


def test_threads_draw_the_same_in_the_same_order(frames: Frames) -> None:
    source = BatchSource(frames, Stage(1, stage()), seed=3)
    streamed = list(source.stream(2, 9, workers=3))
    assert [batch.step for batch in streamed] == list(range(2, 9))
    assert all(torch.equal(batch.rgb, source.draw(batch.step).rgb) for batch in streamed)


def of_people(frames: Frames, who: list[str]) -> Frames:
    """Return the frames as images of so many people."""
    entries = [replace(e, identity=p) for e, p in zip(frames.entries, who, strict=True)]
    return Frames(frames.rgb, frames.mos, entries)


def test_processes_share_a_batch_out_and_change_nothing(frames: Frames) -> None:
    whole = BatchSource(frames, Stage(1, stage()), seed=0).draw(5)
    for rank in (0, 1):
        shard = Shard(rank, 2)
        part = BatchSource(frames, Stage(1, stage()), seed=0, shard=shard).draw(5)
        assert torch.equal(part.rgb, whole.rgb[rank::2])
        assert torch.equal(part.mos, whole.mos[rank::2])


def test_ranked_images_stay_together_where_processes_share_a_batch(frames: Frames) -> None:
    people = of_people(frames, [f"p{index % 4}" for index in range(24)])
    ranked = stage(batch=12, rank=1.0)
    whole = BatchSource(people, Stage(1, ranked), seed=0).draw(5)
    parts = [
        BatchSource(people, Stage(1, ranked), seed=0, shard=Shard(rank, 3)).draw(5)
        for rank in range(3)
    ]
    for name in ("rgb", "mos", "identity", "leads_only"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name))


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_a_ranked_pass_shows_each_once_and_the_best_before_those_without_it(count: int) -> None:
    images, identity = np.arange(2 * count) + 100, np.repeat([0, 1], count)
    mos = np.tile(np.linspace(0, 1, count, dtype=np.float32), 2)
    pool = Pool.ranked(images, identity, mos)
    drawn, leads_only = pool.draw(len(pool), 0, key=(1,))
    assert sorted(drawn[~leads_only]) == images.tolist()
    groups = -(-count // 3)
    assert len(pool) == 2 * (count + groups - 1)
    assert sorted(drawn[leads_only]) == sorted([99 + count, 99 + 2 * count] * (groups - 1))
    many, _ = pool.draw(3 * len(pool), 0, key=(1,))  # more than a pass at once
    assert many[: len(pool)].tolist() == drawn.tolist()


def test_ranked_images_of_an_identity_come_together_led_by_its_best(frames: Frames) -> None:
    who = [f"p{index % 4}" for index in range(24)]  # four people of six images
    people = of_people(frames, who)
    source = BatchSource(people, Stage(1, stage(batch=14, rank=1.0)), seed=0)
    for epoch in range(4):
        drawn = [source.draw(2 * epoch + half) for half in (0, 1)]
        order = torch.cat([batch.identity for batch in drawn]).tolist()
        assert sorted(order) == sorted([0, 1, 2, 3] * 7), "six of each, the best one twice"
        assert sum(a == b for a, b in pairwise(order)) >= 4 * (3 + 2), order  # runs of 4 and of 3
        seen = torch.cat([batch.mos for batch in drawn]).tolist()
        leads = torch.cat([batch.leads_only for batch in drawn]).nonzero().flatten().tolist()
        once = [m for i, m in enumerate(seen) if i not in leads]
        assert sorted(once) == pytest.approx(sorted(frames.mos.tolist()))
        assert sorted(order[i] for i in leads) == [0, 1, 2, 3], "of two groups one has the best"
        best = {n: max(m for m, i in zip(seen, order, strict=True) if i == n) for n in range(4)}
        assert all(seen[i] == best[order[i]] and order[i + 1] == order[i] for i in leads)
    unranked = BatchSource(people, Stage(1, stage(batch=24)), seed=0).draw(0).identity.tolist()
    assert sum(a == b for a, b in pairwise(unranked)) < 16


def test_images_that_lead_are_learnt_where_a_stage_says_so(frames: Frames) -> None:
    people = of_people(frames, [f"p{index % 4}" for index in range(24)])
    ranked, learnt = (
        BatchSource(people, Stage(1, stage(batch=24, rank=1.0, learn_leads=learn)), seed=0).draw(0)
        for learn in (False, True)
    )
    assert ranked.leads_only.any()
    assert not learnt.leads_only.any()
    assert torch.equal(ranked.rgb, learnt.rgb)


def test_half_of_the_second_views_are_spoiled_where_a_stage_says_so(frames: Frames) -> None:
    plain, spoiled = (
        BatchSource(frames, Stage(1, stage(batch=24, spoil=spoil)), seed=0) for spoil in (0.0, 1.0)
    )
    lost = []
    for step in range(20):
        before, after = plain.draw(step), spoiled.draw(step)
        assert torch.equal(before.rgb, after.rgb), "first views stay"
        assert torch.equal(before.second, before.rgb)
        assert not before.lost.any()
        changed = (after.second != after.rgb).flatten(1).any(dim=1)
        assert torch.equal(changed, after.lost > 0)
        lost += after.lost.tolist()
    # Having fewer pixels, 3 of 10 kinds, takes nothing from frames as small as these.
    assert 0.7 * 0.4 < np.mean(np.array(lost) > 0) < 0.7 * 0.6
    assert max(lost) <= share_lost_by_grain(12) < 0.25


def test_processes_spoil_the_same_views(frames: Frames) -> None:
    spoiled = Stage(1, stage(batch=12, spoil=1.0, rank=1.0))
    whole = BatchSource(frames, spoiled, seed=0).draw(5)
    parts = [BatchSource(frames, spoiled, seed=0, shard=Shard(n, 3)).draw(5) for n in range(3)]
    for name in ("second", "lost"):
        assert torch.equal(torch.cat([getattr(p, name) for p in parts]), getattr(whole, name))


def test_grain_is_as_strong_as_it_is_said_to_cost() -> None:
    gray = np.full((320, 320, 3), 128, dtype=np.uint8)  # half of the photo that the grain is of
    seen = set()
    for seed in range(120):
        damaged, lost = add_mild_damage(gray, np.random.default_rng(seed))
        if (damaged != gray).any():  # sharpening and reducing leave plain gray alone
            sd = 2 * float(np.std(damaged.astype(float)))
            assert lost == pytest.approx(share_lost_by_grain(sd), rel=0.2)
            seen.add(round(sd))
    assert {2, 4, 8} <= seen


def test_fewer_pixels_cost_a_crisp_photo_more_than_a_soft_one(face: RGB) -> None:
    crisp = np.tile(face, (2, 2, 1))
    soft = resize_rgb(resize_rgb(crisp, 60, 60), 640, 640)
    assert take_pixels(crisp, 320)[1] == pytest.approx(0.10)
    assert take_pixels(crisp, 240)[1] == pytest.approx(0.19, abs=0.01)
    assert take_pixels(soft, 240)[1] < 0.09
    assert detail_of(take_pixels(crisp, 160)[0]) < 0.8 * detail_of(crisp)


def detail_of(rgb: RGB) -> float:
    """Return how much neighbours in a row differ, grey values."""
    return float(np.abs(np.diff(rgb.astype(float), axis=1)).mean())


@pytest.mark.parametrize("side_px", [64, 384, 640])
def test_every_kind_of_mild_damage_keeps_the_frame_and_costs_something(
    face: RGB, side_px: int
) -> None:
    frame = resize_rgb(face, side_px, side_px)
    for seed in range(20):
        damaged, lost = add_mild_damage(frame, np.random.default_rng(seed))
        assert damaged.shape == frame.shape
        assert damaged.dtype == np.uint8
        assert 0 <= lost <= max(share_lost_by_grain(12), share_lost_by_reducing(160))


def test_ranking_without_identities_shows_every_image_once(frames: Frames) -> None:
    people = of_people(frames, [f"p{index}" for index in range(24)])
    batch = BatchSource(people, Stage(1, stage(batch=24, rank=1.0)), seed=0).draw(3)
    assert sorted(batch.identity.tolist()) == list(range(24))


@pytest.mark.parametrize(("replay", "old"), [(0.0, 0), (0.25, 1), (0.5, 2)])
def test_replay_is_the_share_of_earlier_sources(frames: Frames, replay: float, old: int) -> None:
    of_b = {float(m) for m, e in zip(frames.mos, frames.entries, strict=True) if e.source == "b"}
    source = BatchSource(frames, Stage(2, stage(replay=replay), frozenset("b")), seed=0)
    for step in range(20):
        drawn = source.draw(step).mos.tolist()
        assert sum(mos in of_b for mos in drawn) == old


def test_without_a_replay_share_images_come_as_often_as_they_are(frames: Frames) -> None:
    source = BatchSource(frames, Stage(2, stage(), frozenset("b")), seed=0)
    seen = torch.cat([source.draw(step).mos for step in range(6)]).tolist()
    assert sorted(seen) == pytest.approx(sorted(frames.mos.tolist()))


def augmented(face: RGB, seed: int, *, shift: float, flip: bool) -> RGB:
    out = np.zeros_like(face)
    augment(face, default_rng(seed), out, shift=shift, flip=flip)
    return out


def test_augmentation_only_moves_and_mirrors(face: RGB) -> None:
    """Away from the border, every result is the face or its mirror image, moved."""
    reach, inner = 11, slice(20, 300)
    found = set()
    for seed in range(20):
        moved = augmented(face, seed, shift=1 / 30, flip=True)[inner, inner]
        matches = [
            (mirrored, down, right)
            for mirrored, source in enumerate((face, face[:, ::-1]))
            for down in range(-reach, reach + 1)
            for right in range(-reach, reach + 1)
            if np.array_equal(source[20 + down, 20 + right : 300 + right], moved[0])
            and np.array_equal(source[20 + down : 300 + down, 20 + right : 300 + right], moved)
        ]
        assert len(matches) == 1, f"seed {seed} is no shift of the face"
        found.add(matches[0])
    assert {mirrored for mirrored, _, _ in found} == {0, 1}
    assert len(found) > 15


def test_augmentation_can_be_switched_off(face: RGB) -> None:
    for seed in range(5):
        assert np.array_equal(augmented(face, seed, shift=0, flip=False), face)


@pytest.mark.parametrize("side", [32, 320])
@pytest.mark.parametrize("shift", [1 / 30, 0.2])
def test_borders_are_filled_by_reflection(side: int, shift: float, face: RGB) -> None:
    """The same pixels as a window of numpy's reflected frame."""
    frame, reach = face[:side, :side], round(side * shift)
    wide = np.pad(frame, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    for seed in range(20):
        moved = augmented(frame, seed, shift=shift, flip=False)
        down, right = default_rng(seed).integers(0, 2 * reach + 1, size=2)
        assert np.array_equal(moved, wide[down : down + side, right : right + side])


def test_another_view_is_the_mirror_image_moved_by_one_pixel(face: RGB) -> None:
    pixels = to_pixels(torch.from_numpy(face[None].copy()))
    other = another_view(pixels)
    assert other.shape == pixels.shape
    assert torch.equal(other[..., 1:, 1:], pixels.flip(-1)[..., :-1, :-1])
    assert torch.equal(other[..., 0, 1:], other[..., 1, 1:]), "the border is repeated"
