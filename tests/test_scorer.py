"""Scoring: the same photo gives the same score on any path, and bad images give results."""

import io
import json
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path

import numpy as np
import pytest
from conftest import FACES, ORIGINAL, encode
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import mspt
from mspt.arrays import RGB
from mspt.errors import (
    ConfigError,
    DecodeError,
    ImageTooLargeError,
    ImageTooSmallError,
    ModelError,
)
from mspt.inference import scorer as scorer_module
from mspt.inference.faces import FaceSearch
from mspt.inference.models import KEYS, ModelInfo, Reference, embedded_models, find_model
from mspt.inference.scorer import Scorer
from mspt.inference.session import Session
from mspt.parallel import Budget
from mspt.results import BANDS, COLUMNS, QualityScore, band_of
from mspt.spec import InputSpec

PATHS = sorted(FACES.iterdir())


def test_every_way_to_hand_in_a_photo_gives_the_same_score(scorer: Scorer, face: RGB) -> None:
    expected = scorer.score(ORIGINAL).score
    assert 0 <= expected <= 1
    for image in (str(ORIGINAL), ORIGINAL.read_bytes(), Image.open(ORIGINAL), face):
        assert scorer.score(image).score == expected


def test_a_result_says_what_it_is_about(scorer: Scorer) -> None:
    result = scorer.score(ORIGINAL)
    assert (result.width, result.height, result.status, result.error) == (320, 320, "ok", "")
    assert result.path == str(ORIGINAL)
    assert result.model == scorer.info.label
    assert 0 <= result.percentile <= 100
    assert tuple(result.to_dict()) == COLUMNS


@given(order=st.permutations(PATHS), workers=st.integers(1, 5))
@settings(max_examples=4, deadline=None)
def test_neither_order_nor_workers_nor_neighbours_change_a_score(
    scorer: Scorer, alone: dict[Path, float], order: list[Path], workers: int
) -> None:
    results = list(scorer.score_many(order, workers=workers))
    assert [r.path for r in results] == [str(path) for path in order]
    assert [r.score for r in results] == [alone[path] for path in order]


def score_in_child(scorer: Scorer, paths: list[Path]) -> list[float | None]:
    """Score in a process started in some way; at module level, so that it can be pickled."""
    return [result.score for result in scorer.score_many(paths, workers=2)]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", get_all_start_methods())
def test_processes_of_every_kind_score_alike(
    method: str, scorer: Scorer, alone: dict[Path, float]
) -> None:
    """After a score here, so that a fork finds libraries that are warm."""
    list(scorer.score_many(PATHS[:2]))
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        found = pool.submit(score_in_child, scorer, PATHS).result(timeout=120)
    assert found == [alone[path] for path in PATHS]


def test_a_pickled_scorer_is_the_same_scorer() -> None:
    made = Scorer("fast", backend="onnxruntime", factors=True)
    again = pickle.loads(pickle.dumps(made))
    assert again.label == made.label
    assert again.score(ORIGINAL) == made.score(ORIGINAL)


def test_photos_wait_while_too_many_pixels_are_decoded(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a budget of one photo's pixels no two of them are held at once."""
    monkeypatch.setattr(scorer, "_pixels", Budget(320 * 320))
    held, most = 0, 0
    prepare = scorer_module.resize_to_input

    def slowly(square: RGB, spec: InputSpec) -> RGB:
        nonlocal held, most
        held += 1
        most = max(most, held)
        time.sleep(0.01)
        held -= 1
        return prepare(square, spec)

    monkeypatch.setattr(scorer_module, "resize_to_input", slowly)
    results = list(scorer.score_many(PATHS, workers=4))
    assert [r.status for r in results] == ["ok"] * len(PATHS)
    assert most == 1


@pytest.fixture(scope="module")
def alone(scorer: Scorer) -> dict[Path, float]:
    return {path: scorer.score(path).score for path in PATHS}


def test_bad_images_are_results_in_their_place(scorer: Scorer, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    tiny = Image.new("RGB", (1, 1))
    results = list(scorer.score_many([tmp_path / "empty.jpg", ORIGINAL, tmp_path / "no", tiny]))
    assert [r.status for r in results] == ["unreadable", "ok", "unreadable", "too_small"]
    assert results[0].error == "the file is empty"
    assert results[0].score is None
    assert results[0].band is None
    assert results[0].path.endswith("empty.jpg")


def test_bad_pil_images_and_names_are_results_too(scorer: Scorer, tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(ORIGINAL.read_bytes()[:5000])
    with Image.open(ORIGINAL) as closed:
        pass
    with Image.open(tmp_path / "cut.png") as lazily_opened:
        results = list(scorer.score_many([lazily_opened, closed, "a\0b.jpg", ORIGINAL]))
    assert [r.status for r in results] == ["unreadable"] * 3 + ["ok"]


def test_one_bad_image_alone_raises(scorer: Scorer) -> None:
    with pytest.raises(DecodeError, match=r"nowhere.jpg: cannot be read: No such file"):
        scorer.score("nowhere.jpg")
    with pytest.raises(ImageTooSmallError, match="3 x 3 px"):
        scorer.score(np.zeros((3, 3, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "image", [np.zeros((64, 64)), np.zeros((64, 64, 4), dtype=np.uint8), 3.14, None]
)
def test_what_is_no_image_is_a_type_error(image: object, scorer: Scorer) -> None:
    with pytest.raises(TypeError, match=r"RGB"):
        scorer.score(image)


@pytest.mark.parametrize(
    "one",
    [
        *("photo.png", b"bytes", bytearray(b"bytes"), ORIGINAL, io.BytesIO(b"bytes")),
        *(Image.new("RGB", (64, 64)), np.zeros((64, 64, 3), np.uint8)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_single_image_is_not_taken_for_several(one: object, scorer: Scorer) -> None:
    with pytest.raises(TypeError, match="score_many takes several images"):
        scorer.score_many(one)


def test_faces_true_is_refused_at_once(scorer: Scorer) -> None:
    with pytest.raises(TypeError, match=r"faces takes mspt.FaceSearch\(\), not True"):
        scorer.score_many([ORIGINAL], faces=True)


def test_among_several_what_is_no_image_is_a_row(scorer: Scorer) -> None:
    found = list(scorer.score_many([ORIGINAL, None, 3.5, ORIGINAL]))
    assert [row.status for row in found] == ["ok", "unreadable", "unreadable", "ok"]
    assert found[1].error.startswith("NoneType is not a path, bytes, binary file, PIL image")


def test_a_limit_of_pixels_holds_for_pictures_that_are_open() -> None:
    with Image.open(ORIGINAL) as opened, pytest.raises(ImageTooLargeError, match="102400 pixels"):
        mspt.load(backend="onnxruntime", max_pixels=1000).score(opened)


def test_an_endless_input_is_read_only_as_far_as_needed(scorer: Scorer) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield ORIGINAL

    results = scorer.score_many(endless(), workers=2)
    assert next(results).status == "ok"
    assert taken <= 2 * 4
    threads = threading.active_count()
    results.close()
    assert threading.active_count() < threads, "stopping early must end the workers"


def test_an_error_in_the_input_itself_reaches_the_caller(scorer: Scorer) -> None:
    def broken() -> Iterator[Path]:
        yield ORIGINAL
        raise RuntimeError("the list broke")

    with pytest.raises(RuntimeError, match="the list broke"):
        list(scorer.score_many(broken()))


def test_stronger_blur_never_raises_the_score(scorer: Scorer, face: RGB) -> None:
    from PIL import ImageFilter

    picture = Image.fromarray(face)
    scores = [scorer.score(picture.filter(ImageFilter.GaussianBlur(r))).score for r in (0, 2, 4, 8)]
    assert scores == sorted(scores, reverse=True)


def test_the_file_form_changes_the_score_only_through_its_pixels(scorer: Scorer, face: RGB) -> None:
    expected = scorer.score(face).score
    for form, options in (("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        assert scorer.score(encode(face, form, **options)).score == expected


def test_bands_are_fifths_of_the_scale() -> None:
    assert [band_of(s) for s in (0.0, 0.2, 0.4, 0.6, 0.8)] == list(BANDS)
    assert band_of(1.0) == "excellent"
    assert band_of(0.1999) == "bad"


def test_percentiles_follow_the_reference_distribution() -> None:
    reference = Reference(description="", quantiles=(0.1, 0.5, 0.7))
    assert [reference.percentile(s) for s in (0.0, 0.1, 0.3, 0.5, 0.9)] == [0, 0, 25, 50, 100]


def test_a_failed_row_has_every_column(scorer: Scorer) -> None:
    row = QualityScore.failed("x.jpg", DecodeError("why\n"), "base@1").to_dict()
    assert tuple(row) == COLUMNS
    assert (row["path"], row["status"], row["error"], row["score"]) == (
        "x.jpg",
        "unreadable",
        "why",
        None,
    )


def test_an_unknown_model_is_named_with_those_there_are() -> None:
    with pytest.raises(ModelError, match=r"no model 'bas'.*\(base, fast\)"):
        find_model("bas")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fake.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="onnxruntime cannot load it"):
        Session(path)


@pytest.mark.parametrize("key", KEYS)
def test_a_model_without_a_metadata_key_is_refused_naming_it(key: str, scorer: Scorer) -> None:
    metadata = scorer.info.to_metadata()
    del metadata[key]
    with pytest.raises(ModelError, match=f"m.onnx: metadata key '{key}' is missing"):
        ModelInfo.from_metadata(metadata, "m.onnx")


def test_metadata_of_another_format_or_without_sense_is_refused(scorer: Scorer) -> None:
    metadata = scorer.info.to_metadata()
    with pytest.raises(ModelError, match="format '9', but this version reads '1'; update mspt"):
        ModelInfo.from_metadata(metadata | {"mspt.format": "9"}, "m.onnx")
    with pytest.raises(ModelError, match="cannot be understood"):
        ModelInfo.from_metadata(metadata | {"mspt.params": "many"}, "m.onnx")
    for quantiles in ([], [0.5], [0.9, 0.5], [0.1, float("nan"), 0.9]):
        broken = json.dumps({"description": "", "quantiles": quantiles})
        with pytest.raises(ModelError, match="quantiles do not rise"):
            ModelInfo.from_metadata(metadata | {"mspt.reference": broken}, "m.onnx")
    assert ModelInfo.from_metadata(metadata, "m.onnx") == scorer.info


@pytest.mark.parametrize(
    ("value", "said"),
    [("[" * 50_000, "RecursionError"), ("x" * 2**20, "more than the 1048576 that a model needs")],
)
def test_metadata_that_asks_too_much_is_refused(value: str, said: str, scorer: Scorer) -> None:
    metadata = scorer.info.to_metadata() | {"mspt.training": value}
    with pytest.raises(ModelError, match=f"m.onnx: metadata .*{said}"):
        ModelInfo.from_metadata(metadata, "m.onnx")


def test_the_embedded_model_is_the_papers_size() -> None:
    path = embedded_models()["base"]
    info = Session(path).info
    assert (info.params, info.gflops) == (1_518_881, 0.46874)
    assert info.spec.short_side == 640
    assert sum(model.stat().st_size for model in embedded_models().values()) <= 10_000_000
    assert info.licence
    assert b".py" not in path.read_bytes(), "a path of the exporting machine"
    assert len(info.reference.quantiles) == 101


def test_binary_files_are_scored_and_text_files_refused(scorer: Scorer, tmp_path: Path) -> None:
    expected = scorer.score(ORIGINAL).score
    assert scorer.score(io.BytesIO(ORIGINAL.read_bytes())).score == expected
    with ORIGINAL.open("rb") as file:
        assert scorer.score(file).score == expected
    (tmp_path / "t.txt").write_text("text")
    with (tmp_path / "t.txt").open() as file, pytest.raises(TypeError, match="in binary mode"):
        scorer.score(file)  # type: ignore[arg-type]


def test_a_missing_file_is_also_pythons_own_error(scorer: Scorer) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.jpg: cannot be read: No such file"):
        scorer.score("nowhere.jpg")


def test_a_scorer_says_what_it_is(scorer: Scorer) -> None:
    assert repr(scorer) == f"Scorer({scorer.label!r}, 640 px, onnxruntime fp32)"


def test_the_square_that_was_scored_can_be_cut_out_again(scorer: Scorer, face: RGB) -> None:
    wide = np.pad(face, ((0, 0), (200, 101), (0, 0)))
    result = scorer.score(wide)
    assert result.square == (150, 0, 470, 320)
    x1, y1, x2, y2 = result.square
    assert scorer.score(np.ascontiguousarray(wide[y1:y2, x1:x2])).score == result.score


def test_a_lack_of_memory_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer("fast", backend="onnxruntime")
    calls = []

    def run(rgb: RGB) -> float:
        calls.append(rgb.shape)
        if len(calls) == 2:
            raise MemoryError
        return 0.5

    monkeypatch.setattr(scorer._session._runtime, "run", run)
    rows = list(scorer.score_many([ORIGINAL] * 3, workers=1))
    assert [row.status for row in rows] == ["ok", "too_large", "ok"]
    assert rows[1].error == "there was not enough memory to score it"
    assert rows[1].path == str(ORIGINAL)


class _Failing(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        raise ConnectionResetError("the line is cut")


def test_a_file_object_that_cannot_be_read_is_a_result(scorer: Scorer) -> None:
    first, second = scorer.score_many([_Failing(), ORIGINAL])
    assert (first.status, first.error) == ("unreadable", "cannot be read: the line is cut")
    assert second.status == "ok"


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_below_one_are_refused_at_once(scorer: Scorer, workers: int) -> None:
    with pytest.raises(ConfigError, match=f"workers {workers} must be at least 1"):
        scorer.score_many([ORIGINAL], workers=workers)


def test_what_cannot_be_iterated_over_is_refused_at_once(scorer: Scorer) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        scorer.score_many(None)  # type: ignore[arg-type]


def test_faces_below_no_size_are_refused() -> None:
    with pytest.raises(ConfigError, match="min_face_px -5 must be at least 0"):
        FaceSearch(min_face_px=-5)
