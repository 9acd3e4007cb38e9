"""Faces in photos: one rule for the crop, a row per face, and clear words without a detector."""

import csv
import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import ASTRONAUT, DETECTOR, ORIGINAL, RunCli, draw_group, encode
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import mspt
from mspt.arrays import RGB
from mspt.errors import ConfigError, DecodeError, DownloadError, ModelError
from mspt.image.crop import crop_face_square
from mspt.inference import faces
from mspt.inference.faces import FaceDetector, FaceSearch, fetch_detector, find_detector
from mspt.inference.models import find_model
from mspt.inference.scorer import Scorer
from mspt.results import FaceBox
from mspt.spec import InputSpec

needs_detector = pytest.mark.skipif(
    DETECTOR is None, reason="no YuNet file: `mspt detector fetch`, or set MSPT_DETECTOR"
)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return mspt.load(backend="onnxruntime", detector=DETECTOR)


@pytest.fixture(scope="module")
def group() -> Image.Image:
    return draw_group()


def box(x1: float, y1: float, x2: float, y2: float) -> FaceBox:
    return FaceBox(x1=x1, y1=y1, x2=x2, y2=y2, det_score=0.9)


# ---- the rule of the crop ----


def test_the_square_is_centred_and_widened_by_the_margin() -> None:
    rgb = np.arange(200 * 300 * 3, dtype=np.uint32).astype(np.uint8).reshape(200, 300, 3)
    square = crop_face_square(rgb, box(140, 80, 160, 120), 0.5)
    assert np.array_equal(square, rgb[60:140, 110:190])


def test_a_square_that_sticks_out_is_moved_inside() -> None:
    rgb = np.zeros((200, 300, 3), dtype=np.uint8)
    rgb[:80, 220:] = 255
    assert (crop_face_square(rgb, box(270, 0, 300, 40), 0.5) == 255).all()
    assert crop_face_square(rgb, box(270, 0, 300, 40), 0.5).shape == (80, 80, 3)


def test_a_square_larger_than_the_photo_is_cut_to_its_short_side() -> None:
    rgb = np.zeros((200, 300, 3), dtype=np.uint8)
    assert crop_face_square(rgb, box(10, 10, 190, 190), 0.5).shape == (200, 200, 3)
    far = 1.7e308  # a box of someone's table may be anywhere
    assert crop_face_square(rgb, box(-far, -far, far, far), 0.5).shape == (200, 200, 3)
    assert crop_face_square(rgb, box(far / 2, far / 2, far, far), 0.5).shape == (200, 200, 3)


@given(
    x1=st.floats(-50, 350), y1=st.floats(-50, 250), side=st.floats(0, 900), margin=st.floats(0, 4)
)
def test_the_crop_is_a_square_of_the_photo_whatever_the_box(
    x1: float, y1: float, side: float, margin: float
) -> None:
    rgb = np.zeros((200, 300, 3), dtype=np.uint8)
    height, width, _ = crop_face_square(rgb, box(x1, y1, x1 + side, y1 + side / 2), margin).shape
    assert 1 <= height == width <= 200


def test_the_margin_travels_in_the_input_spec() -> None:
    spec = InputSpec(short_side=640, crop_side=640, face_margin=0.5)
    assert InputSpec.from_json(spec.to_json()).face_margin == 0.5
    with pytest.raises(ModelError, match="face_margin -1 must lie in 0..4"):
        InputSpec(short_side=640, crop_side=640, face_margin=-1)


# ---- detection ----


@needs_detector
def test_every_face_is_a_result_the_largest_first(scorer: Scorer, group: Image.Image) -> None:
    results = scorer.score_faces(group)
    assert [(r.face, r.n_faces, r.status) for r in results] == [(i, 4, "ok") for i in range(4)]
    areas = [(r.box.x2 - r.box.x1) * (r.box.y2 - r.box.y1) for r in results]
    assert areas == sorted(areas, reverse=True)
    assert results[0].score > results[-1].score, "enlarged more, it looks softer"
    assert (results[0].width, results[0].height) == (1400, 700)
    assert 170 < results[0].box.x1 < 190
    assert results[0].box.det_score > 0.8


@needs_detector
def test_a_face_scores_as_its_square_cut_out_beforehand(scorer: Scorer, group: Image.Image) -> None:
    face = scorer.score_faces(group)[0]
    square = crop_face_square(np.asarray(group), face.box, scorer.info.spec.face_margin)
    assert scorer.score(square).score == face.score


@needs_detector
def test_boxes_are_in_px_of_the_photo_however_large_it_is(scorer: Scorer) -> None:
    photo = Image.open(ASTRONAUT).convert("RGB")
    small, large = (
        scorer.score_faces(photo.resize((side, side), Image.Resampling.BICUBIC))[0].box
        for side in (1280, 2560)
    )
    for edge in ("x1", "y1", "x2", "y2"):
        assert getattr(large, edge) == pytest.approx(2 * getattr(small, edge), abs=16)


@needs_detector
def test_a_photo_without_a_face_says_so(scorer: Scorer) -> None:
    empty = Image.new("RGB", (300, 200), "gray")
    (result,) = scorer.score_faces(empty)
    assert (result.status, result.score, result.n_faces) == ("no_face", None, 0)
    assert result.error == "no face was found"


@needs_detector
def test_few_or_large_faces_can_be_asked_for(scorer: Scorer, group: Image.Image) -> None:
    two = scorer.score_faces(group, max_faces=2)
    assert [(r.face, r.n_faces) for r in two] == [(0, 4), (1, 4)]
    smallest = scorer.score_faces(group)[2].box
    limit = round(min(smallest.x2 - smallest.x1, smallest.y2 - smallest.y1))
    assert len(scorer.score_faces(group, min_face_px=limit - 1)) == 3
    (none,) = scorer.score_faces(group, min_face_px=500)
    assert (none.status, none.error) == ("no_face", "no face of at least 500 px was found")
    with pytest.raises(ConfigError, match="max_faces 0 must be at least 1"):
        scorer.score_faces(group, max_faces=0)


@needs_detector
def test_a_face_too_small_to_score_keeps_its_box(
    scorer: Scorer, group: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaceDetector, "find", lambda self, rgb: [box(10, 10, 20, 20)])
    (result,) = scorer.score_faces(group)
    assert (result.status, result.score) == ("too_small", None)
    assert result.error.startswith("the face's square is 16 x 16 px")
    assert result.box == box(10, 10, 20, 20)


@needs_detector
def test_workers_do_not_change_faces_and_bad_photos_are_rows(
    scorer: Scorer, group: Image.Image
) -> None:
    photos = [group, "gone.jpg", ORIGINAL, Image.new("RGB", (64, 64))] * 2
    alone = [r for photo in photos for r in scorer.score_photos([photo], faces=FaceSearch())]
    together = list(scorer.score_photos(photos, workers=4, faces=FaceSearch()))
    assert together == alone
    flat = list(scorer.score_many(photos, faces=FaceSearch()))
    assert [r.status for r in flat[:7]] == ["ok"] * 4 + ["unreadable", "ok", "no_face"]
    with pytest.raises(DecodeError, match=r"gone.jpg: cannot be read"):
        scorer.score_faces("gone.jpg")


@needs_detector
def test_the_command_line_writes_a_row_per_face(
    run_cli: RunCli, group: Image.Image, tmp_path: Path
) -> None:
    group.save(tmp_path / "group.png")
    Image.new("RGB", (80, 80)).save(tmp_path / "nobody.png")
    arguments = ("score", "group.png", "nobody.png", "--detect", "--detector", DETECTOR)
    done = run_cli(*arguments)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split("  ")[1:] for line in lines[:4]] == [
        ["group.png", f"face {i + 1} of 4"] for i in range(4)
    ]
    assert lines[4].split() == ["-", "nobody.png"]
    assert "nobody.png: no face was found" in done.stderr
    assert "[ WARN" not in done.stderr, "OpenCV's remarks are for its makers"
    assert run_cli(*arguments, "--strict", "--max-faces", "1").returncode == 1


@needs_detector
@pytest.mark.slow
def test_three_hundred_mixed_files_give_a_row_per_face_or_file(
    run_cli: RunCli, group: Image.Image, tmp_path: Path
) -> None:
    """Good faces, groups, nobody, broken, huge, tiny, and what is no image at all."""
    folder = tmp_path / "photos"
    folder.mkdir()
    face = ORIGINAL.read_bytes()
    kinds = {
        "face.png": (face, ["ok"]),
        "group.jpg": (encode(group, "JPEG", quality=95), ["ok"] * 4),
        "nobody.png": (encode(Image.new("RGB", (200, 300), "gray"), "PNG"), ["no_face"]),
        "cut.png": (face[:4000], ["unreadable"]),
        "empty.jpg": (b"", ["unreadable"]),
        "notes.txt": (b"no image", ["unreadable"]),
        "bomb.png": (encode(Image.new("1", (20_000, 20_000)), "PNG"), ["too_large"]),
        "pixel.png": (encode(Image.new("RGB", (1, 1)), "PNG"), ["too_small"]),
        "large.jpg": (encode(group.resize((2800, 1400)), "JPEG"), ["ok"] * 4),
        "größe 1.png": (face, ["ok"]),
    }
    expected: dict[str, list[str]] = {}
    for number in range(300):
        name, (data, statuses) = list(kinds.items())[number % len(kinds)]
        path = folder / f"{number:03d} {name}"
        path.write_bytes(data)
        expected[str(path)] = statuses
    options = ("--all-files", "--detect", "--detector", DETECTOR)
    done = run_cli("score", folder, *options, "-o", tmp_path / "s.csv")
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["path"], []).append(row["status"])
            assert (row["x1"] != "") == (row["face"] != "") == (row["status"] == "ok")
    assert found == expected
    assert list(found) == sorted(expected)
    assert done.stderr == "180 of 480 rows are not ok\n"


# ---- the detector's file ----


def test_options_about_faces_need_detect(run_cli: RunCli) -> None:
    for option in (("--max-faces", "2"), ("--min-face", "40"), ("--detector", "x.onnx")):
        done = run_cli("score", ORIGINAL, *option)
        assert done.returncode == 2
        assert f"{option[0]} {option[1]} is about faces; add --detect" in done.stderr


@pytest.fixture
def no_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MSPT_DETECTOR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/mspt/face_detection_yunet_2023mar.onnx"


@pytest.mark.skipif(sys.platform == "win32", reason="another cache folder")
def test_without_a_detector_both_ways_to_get_one_are_said(
    no_detector: Path, run_cli: RunCli
) -> None:
    done = run_cli("score", ORIGINAL, "--detect")
    assert done.returncode == 2
    assert "run `mspt detector fetch` once" in done.stderr
    assert "--detector FILE or MSPT_DETECTOR=FILE" in done.stderr


def test_a_detector_that_is_not_there_is_named_with_its_origin(
    no_detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"no face detector at a.onnx; correct"):
        find_detector(Path("a.onnx"))
    monkeypatch.setenv("MSPT_DETECTOR", "b.onnx")
    with pytest.raises(ConfigError, match=r"at b.onnx \(from \$MSPT_DETECTOR\)"):
        find_detector()


def test_a_file_that_is_no_detector_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d.onnx").write_bytes(b"no model")
    for file in (tmp_path / "d.onnx", find_model("base")):  # the second is a model, but another
        with pytest.raises(ModelError, match=f"{file.name}: OpenCV cannot use it as a YuNet"):
            FaceDetector(file)


def test_a_missing_detector_leaves_an_older_output_as_it_was(
    no_detector: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    (tmp_path / "s.csv").write_text("old")
    assert run_cli("score", ORIGINAL, "--detect", "-o", "s.csv").returncode == 2
    assert (tmp_path / "s.csv").read_text() == "old"


def test_without_opencv_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['cv2'] = None; import mspt; "
        f"photo = {str(ORIGINAL)!r}; "
        "mspt.load(detector=photo, trust_detector=True).score_faces(photo)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: cv2 is not installed" in done.stderr
    assert '".[detect]"' in done.stderr


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A server on this machine with one file."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www/d.onnx").write_bytes(b"a detector")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/cut.onnx":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Length", "232589")
            self.end_headers()
            self.wfile.write(b"cut")

        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "www"))

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(sys.platform == "win32", reason="another cache folder")
def test_fetching_checks_the_sum_keeps_the_file_and_does_not_fetch_twice(
    served: str, no_detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadError, match=r"10 bytes with SHA-256 \w+, not the known detector's"):
        fetch_detector(f"{served}/d.onnx")
    assert not no_detector.exists()
    monkeypatch.setattr(faces, "SHA256", hashlib.sha256(b"a detector").hexdigest())
    monkeypatch.setattr(faces, "KNOWN_SHA256", {faces.SHA256})
    assert fetch_detector(f"{served}/d.onnx") == no_detector
    assert no_detector.read_bytes() == b"a detector"
    assert os.listdir(no_detector.parent) == [no_detector.name]
    assert fetch_detector("http://127.0.0.1:1/never-asked") == no_detector
    assert find_detector() == no_detector


def test_a_fetch_that_fails_says_what_to_do(served: str, no_detector: Path) -> None:
    for url in (f"{served}/gone.onnx", f"{served}/cut.onnx", "http://127.0.0.1:1/x", "no url"):
        with pytest.raises(DownloadError, match="cannot be fetched: .*copy the file there"):
            fetch_detector(url)


# ---- small faces in large photos ----


def in_canvas(width: int, height: int, side: int = 512) -> RGB:
    """Put the astronaut into a large, even photo."""
    photo = Image.open(ASTRONAUT).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", (width, height), (120, 130, 140))
    canvas.paste(photo, (width // 4, height // 4))
    return np.asarray(canvas)


@needs_detector
@pytest.mark.parametrize("width", [2000, 4000, 8000])
def test_a_face_scores_alike_in_a_larger_photo(width: int, scorer: Scorer) -> None:
    """Seen small, its box shrinks: at 4000 px it scored .2 less before it was looked at again."""
    (alone,) = scorer.score_faces(in_canvas(1024, 1024))
    (found,) = scorer.score_faces(in_canvas(width, width * 3 // 4))
    assert found.score == pytest.approx(alone.score, abs=0.04)
    heights = [result.box.y2 - result.box.y1 for result in (alone, found) if result.box]
    assert heights[1] == pytest.approx(heights[0], rel=0.1)


@needs_detector
def test_a_face_in_a_panorama_is_found(scorer: Scorer) -> None:
    (found,) = scorer.score_faces(in_canvas(12000, 1500))
    assert found.status == "ok"
    assert found.box is not None
    assert 3000 < found.box.x1 < found.box.x2 < 3512


@needs_detector
def test_parts_of_a_face_that_is_larger_than_a_tile_are_no_faces() -> None:
    large = Image.open(ORIGINAL).convert("RGB").resize((7000, 7000), Image.Resampling.BICUBIC)
    assert len(FaceDetector(find_detector(DETECTOR)).find(np.asarray(large))) == 1


@needs_detector
def test_the_landmarks_lie_in_the_box(scorer: Scorer) -> None:
    (found,) = scorer.score_faces(in_canvas(4000, 3000))
    assert found.box is not None
    assert len(found.box.landmarks) == 5
    for x, y in found.box.landmarks:
        assert found.box.x1 <= x <= found.box.x2
        assert found.box.y1 <= y <= found.box.y2


@pytest.mark.parametrize("length", [640, 641, 1000, 9000])
def test_tiles_cover_everything_and_overlap(length: int) -> None:
    starts = faces._starts(length, 640)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - 640)
    assert all(b - a <= 0.75 * 640 + 1 for a, b in pairwise(starts))


def test_an_unknown_detector_is_taken_by_explicit_wish_only(tmp_path: Path) -> None:
    """OpenCV ends the process on some damaged files, so it does not get to see them."""
    (tmp_path / "d.onnx").write_bytes(b"a mutated detector")
    with pytest.raises(ModelError, match="is not a face detector that is known .*--trust-detector"):
        find_detector(tmp_path / "d.onnx")
    assert find_detector(tmp_path / "d.onnx", trusted=True) == tmp_path / "d.onnx"


@needs_detector
def test_evaluate_takes_the_largest_face(
    run_cli: RunCli, scorer: Scorer, group: Image.Image, tmp_path: Path
) -> None:
    for number in range(3):
        group.reduce(number + 1).save(tmp_path / f"{number}.png")
    (tmp_path / "m.csv").write_text("path,mos\n0.png,.9\n1.png,.7\n2.png,.5\n")
    command = ("evaluate", "m.csv", "--backend", "onnxruntime", "--detect", "--detector", DETECTOR)
    done = run_cli(*command, "-o", "s.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        written = [float(row["score"]) for row in csv.DictReader(file)]
    largest = [scorer.score_faces(tmp_path / f"{n}.png", max_faces=1)[0].score for n in range(3)]
    assert written == pytest.approx(largest)
    Image.new("RGB", (80, 80)).save(tmp_path / "1.png")
    nobody = run_cli(*command)
    assert nobody.returncode == 2
    assert "1 of 3 images cannot be used" in nobody.stderr
    assert "1.png: no face was found" in nobody.stderr
