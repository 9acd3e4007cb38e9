"""Bursts and near copies: of each group the best photo may stand for all."""

import tracemalloc
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from conftest import FACES, ORIGINAL, RunCli
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageFilter

from mspt import scores
from mspt.errors import DecodeError
from mspt.scores.groups import ALIKE_BITS, BURST_S, join_alike, join_bursts, taken_at

NOON = datetime(2026, 1, 1, 12)


def save(path: Path, picture: Image.Image, taken: str = "", *, camera: str = "A", sub: str = "0"):
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = camera
    if taken:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.SubsecTimeOriginal] = sub
    path.parent.mkdir(exist_ok=True)
    picture.save(path, exif=exif, quality=92)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A burst of three of which the first is best; its mirror image, alone, and that made small."""
    face = Image.open(ORIGINAL).convert("RGB")
    mirrored = face.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    folder = tmp_path / "album"
    save(folder / "a.jpg", face, "2026:01:01 12:00:00")
    save(folder / "b.jpg", face.filter(ImageFilter.GaussianBlur(2)), "2026:01:01 12:00:01")
    save(folder / "c.jpg", face.filter(ImageFilter.GaussianBlur(3)), "2026:01:01 12:00:03")
    save(folder / "d.jpg", mirrored, "2026:01:01 12:09:00")
    save(folder / "e.jpg", mirrored.reduce(2))
    return folder


def names(text: str) -> list[str]:
    return [Path(line).name for line in text.splitlines()]


def test_the_best_of_a_burst_stands_for_it(run_cli: RunCli, album: Path) -> None:
    assert run_cli("score", "album", "-o", "s.csv").returncode == 0
    done = run_cli("filter", "s.csv", "--best-of-group", "burst")
    assert names(done.stdout) == ["a.jpg", "d.jpg", "e.jpg"], done.stderr
    assert "groups (burst): 1; 2 photos are beaten by another of theirs" in done.stderr


def test_the_best_of_near_copies_is_chosen_from(run_cli: RunCli, album: Path) -> None:
    assert run_cli("score", "album", "-o", "s.csv").returncode == 0
    alike = ("--best-of-group", "alike")
    assert names(run_cli("filter", "s.csv", *alike).stdout) == ["a.jpg", "d.jpg"]
    done = run_cli("filter", "s.csv", *alike, "--worst", "1", "-o", "one.csv")
    assert "groups (alike): 2; 3 photos are beaten" in done.stderr
    (row,) = scores.open_scores(album.parent / "one.csv").rows()
    assert row.path.endswith(("a.jpg", "d.jpg"))
    done = run_cli("report", "s.csv", "-o", "r.html", *alike)
    page = (album.parent / "r.html").read_text(encoding="utf-8")
    assert done.returncode == 0
    assert "a.jpg" in page
    assert "e.jpg" not in page


def test_what_is_beaten_is_what_inverting_chooses(run_cli: RunCli, album: Path) -> None:
    assert run_cli("score", "album", "-o", "s.csv").returncode == 0
    done = run_cli("filter", "s.csv", "--best-of-group", "burst", "--invert")
    assert names(done.stdout) == ["b.jpg", "c.jpg"]
    assert "2 of 5 rows chosen by --invert; without it, 3 of 3 rows chosen" in done.stderr
    best = run_cli("filter", "s.csv", "--best-of-group", "burst", "--top", "1", "--invert")
    assert len(names(best.stdout)) == 4


def test_photos_elsewhere_are_not_opened(run_cli: RunCli, album: Path, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    paths = [str(album / name) for name in ("a.jpg", "b.jpg")]
    assert run_cli("score", *paths, "-o", "inner/s.csv").returncode == 0
    command = ("filter", "s.csv", "--best-of-group", "burst")
    refused = run_cli(*command, cwd=tmp_path / "inner").stderr
    assert "groups (burst): 0" in refused
    assert "2 photos lie outside and were not looked at; --within DIR allows" in refused
    allowed = run_cli(*command, "--within", album, cwd=tmp_path / "inner")
    assert "groups (burst): 1" in allowed.stderr


def test_photos_that_are_not_found_are_not_taken_for_different_ones(
    run_cli: RunCli, album: Path
) -> None:
    assert run_cli("score", "album", "-o", "s.csv").returncode == 0
    (album / "b.jpg").unlink()
    some = run_cli("filter", "s.csv", "--best-of-group", "alike")
    assert some.returncode == 0
    assert "1 of 5 photos cannot be read, such as album/b.jpg" in some.stderr
    album.rename(album.with_name("elsewhere"))
    none = run_cli("filter", "s.csv", "--best-of-group", "alike")
    assert none.returncode != 0
    assert "run this in the folder where it ran" in none.stderr


def test_a_report_of_the_best_says_that_others_are_left_out(run_cli: RunCli, album: Path) -> None:
    assert run_cli("score", "album", "-o", "s.csv").returncode == 0
    done = run_cli("report", "s.csv", "-o", "r.html", "--best-of-group", "burst")
    assert done.returncode == 0
    page = (album.parent / "r.html").read_text(encoding="utf-8")
    assert "2 more photos are left out" in page
    assert run_cli("report", "s.csv", "-o", "r.html").returncode == 0
    assert "left out" not in (album.parent / "r.html").read_text(encoding="utf-8")


def test_without_a_group_or_a_criterion_nothing_is_chosen(run_cli: RunCli) -> None:
    run_cli("score", FACES, "-o", "s.csv")
    done = run_cli("filter", "s.csv")
    assert done.returncode == 2
    assert "choose by exactly one of" in done.stderr


def test_a_photo_says_where_and_when_it_was_taken(tmp_path: Path) -> None:
    face = Image.open(ORIGINAL).convert("RGB")
    save(tmp_path / "t.jpg", face, "2026:01:01 12:00:00", camera="X9", sub="25")
    folder, camera, when = taken_at(str(tmp_path / "t.jpg")) or pytest.fail("no time")
    assert (folder, when - NOON) == (str(tmp_path), timedelta(seconds=0.25))
    assert "X9" in camera


@pytest.mark.parametrize("taken", ["", "0000:00:00 00:00:00", "yesterday", "2026:13:01 12:00:00"])
def test_a_photo_that_does_not_say_when_is_in_no_burst(taken: str, tmp_path: Path) -> None:
    save(tmp_path / "t.jpg", Image.open(ORIGINAL).convert("RGB"), taken)
    assert taken_at(str(tmp_path / "t.jpg")) is None
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    with pytest.raises(DecodeError):
        taken_at(str(tmp_path / "bad.jpg"))


def test_bursts_are_chains_of_one_camera_in_one_folder() -> None:
    def at(seconds: float, folder: str = "f", camera: str = "c") -> tuple[str, str, datetime]:
        return folder, camera, NOON + timedelta(seconds=seconds)

    taken = [at(0), at(9), at(BURST_S), at(2 * BURST_S), at(0.1, "g"), at(0.2, "f", "d"), at(9.5)]
    assert join_bursts(taken) == [[0, 2, 3], [1, 6]]
    assert join_bursts([]) == []


@settings(deadline=None)
@given(
    seed=st.integers(0, 10**6),
    flips=st.lists(st.integers(0, 3 * ALIKE_BITS), min_size=1, max_size=12),
)
def test_near_hashes_are_found_as_by_comparing_all(seed: int, flips: list[int]) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 2, 256, dtype=np.uint8)
    bits = [first]
    for count in flips:  # each differs from the one before in so many bits
        other = bits[-1].copy()
        other[rng.choice(256, count, replace=False)] ^= 1
        bits.append(other)
    near = {
        (a, b)
        for a in range(len(bits))
        for b in range(a + 1, len(bits))
        if (bits[a] != bits[b]).sum() <= ALIKE_BITS
    }
    found = join_alike([np.packbits(row) for row in bits])
    together = {(a, b) for group in found for a in group for b in group if a < b}
    assert near <= together
    linked = {place for pair in near for place in pair}
    assert {place for group in found for place in group} == linked


def test_thousands_of_near_copies_are_one_group() -> None:
    """As of a timelapse: their pairs are too many to be listed."""
    rng = np.random.default_rng(0)
    bits = np.tile(rng.integers(0, 2, 256, dtype=np.uint8), (3000, 1))
    bits[np.arange(3000), rng.integers(0, 256, 3000)] ^= 1
    bits[np.arange(3000), rng.integers(0, 256, 3000)] ^= 1
    tracemalloc.start()
    (group,) = join_alike([np.packbits(row) for row in bits])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(group) == 3000
    assert peak < 20 * 2**20


def row(path: str, score: float | None, *, side_px: object = "") -> scores.ScoreRow:
    cells = {"width": side_px, "height": side_px}
    return scores.ScoreRow(1, path, score, "ok" if score is not None else "no_face", cells)


def test_of_equals_the_earlier_stays_and_any_score_beats_none() -> None:
    rows = [row("a", 0.5), row("b", 0.5), row("c", None), row("d", 0.1), row("e", 0.9)]
    assert scores.beaten(rows, [["a", "b"], ["c", "d"]]) == {"b", "c"}
    faces = [row("a", 0.2), row("b", 0.5), row("a", 0.8)]
    assert scores.beaten(faces, [["a", "b"]]) == {"b"}, "a photo counts by its best face"


def test_of_copies_that_score_alike_the_one_of_most_pixels_stays() -> None:
    rows = [row("half", 0.61, side_px="320"), row("whole", 0.6, side_px=640), row("d", 0.599)]
    assert scores.beaten(rows, [["half", "whole", "d"]]) == {"half", "d"}
    blurred = [row("sharp", 0.63, side_px="320"), row("blurred", 0.6, side_px="640")]
    assert scores.beaten(blurred, [["sharp", "blurred"]]) == {"blurred"}, "further than CLOSE"
    odd = [row("a", 0.5, side_px="nan"), row("b", 0.51, side_px="wide")]
    assert scores.beaten(odd, [["a", "b"]]) == {"a"}, "sizes that are none do not count"
