"""A stopped run goes on without a lost or doubled row, and nothing is replaced unasked."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from conftest import FACES, ORIGINAL, RunCli, make_tar
from PIL import Image

from mspt.errors import ConfigError, WriteError
from mspt.inference.faces import FaceSearch
from mspt.inference.scorer import Scorer
from mspt.inference.video import NOT_OPENED
from mspt.inference.video_whole import Clock
from mspt.results import COLUMNS, FaceBox
from mspt.scores import read
from mspt.scores.asked import Asked
from mspt.scores.read import open_scores
from mspt.scores.resume import prepare_output
from mspt.scores.write import RowWriter, journal_of

FORMS = [".csv", ".jsonl", ".parquet"]
FAST = ("--model", "fast", "--backend", "onnxruntime")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty small photos, and two files that are none."""
    folder = tmp_path_factory.mktemp("photos")
    face = Image.open(ORIGINAL).convert("RGB")
    for number in range(60):
        face.crop((number, 0, 260 + number, 260)).save(folder / f"{number:03d}.jpg")
    (folder / "017-broken.jpg").write_bytes(b"no picture")
    (folder / '018 "quoted", \n name.jpg').write_bytes((folder / "000.jpg").read_bytes())
    return folder


def content(path: Path) -> object:
    """Return what a file holds: its bytes, or Parquet's rows."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    return [row.cells for row in open_scores(path).rows()]


@pytest.fixture(scope="module")
def unbroken(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    out = tmp_path_factory.mktemp("unbroken")
    for form in FORMS:
        command = [sys.executable, "-m", "mspt", "score", photos, "-o", out / f"s{form}", *FAST]
        subprocess.run([*map(str, command)], check=True, capture_output=True)
    return {form: content(out / f"s{form}") for form in FORMS}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_run_killed_at_random_moments_ends_as_if_unbroken(
    form: str, photos: Path, unbroken: dict[str, object], tmp_path: Path
) -> None:
    output, kills = tmp_path / f"s{form}", 0
    rng = random.Random(form)
    for _ in range(40):
        command = [sys.executable, "-m", "mspt", "score", photos, "-o", output, "--resume", *FAST]
        with subprocess.Popen([*map(str, command)], stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(rng.uniform(0.3, 0.8))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
                continue
            assert process.returncode == 0
            break
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    assert done.stderr.count("not ok") <= 1
    assert content(output) == unbroken[form]
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    assert kills > 0


@pytest.mark.parametrize("form", [".csv", ".jsonl"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.77, 0.999])
def test_a_file_cut_anywhere_is_completed(
    form: str,
    share: float,
    photos: Path,
    unbroken: dict[str, object],
    run_cli: RunCli,
    tmp_path: Path,
) -> None:
    whole = unbroken[form]
    assert isinstance(whole, bytes)
    output = tmp_path / f"s{form}"
    output.write_bytes(whole[: round(share * len(whole))])
    done = run_cli("score", photos, "-o", output, "--resume", *FAST)
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == whole


@pytest.mark.parametrize("form", FORMS)
def test_what_is_there_is_never_replaced_unasked(
    form: str, run_cli: RunCli, tmp_path: Path
) -> None:
    output = tmp_path / f"s{form}"
    assert run_cli("score", ORIGINAL, "-o", output, *FAST).returncode == 0
    before = content(output)
    done = run_cli("score", FACES, "-o", output, *FAST)
    assert done.returncode == 2
    assert f"s{form} exists; --resume goes on behind its rows, --overwrite replaces" in done.stderr
    assert content(output) == before
    assert run_cli("score", FACES, "-o", output, "--overwrite", *FAST).returncode == 0
    assert len(list(open_scores(output).rows())) == 11


@pytest.mark.parametrize("form", FORMS)
def test_a_finished_file_takes_more_photos(form: str, run_cli: RunCli, tmp_path: Path) -> None:
    output = tmp_path / f"s{form}"
    paths = sorted(FACES.glob("*.png"))
    run_cli("score", *paths[:4], "-o", output, *FAST)
    done = run_cli("score", *paths, "-o", output, "--resume", *FAST)
    assert done.returncode == 0, done.stderr
    assert [row.path for row in open_scores(output).rows()] == [str(path) for path in paths]


def test_a_finished_parquet_file_outlives_ctrl_c_while_it_is_opened_again(
    run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "s.parquet"
    run_cli("score", FACES, "-o", output, *FAST)
    before, rows = output.read_bytes(), read.ScoreFile.rows

    def interrupted(file: read.ScoreFile) -> Iterator[read.ScoreRow]:
        yield from islice(rows(file), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(read.ScoreFile, "rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_output(output, COLUMNS, resume=True, overwrite=False, asked=Asked(model="base"))
    assert output.read_bytes() == before
    assert list(tmp_path.iterdir()) == [output], "no part of its rows that would pass for all"


@pytest.mark.parametrize("kept", range(6))
def test_a_photo_listed_twice_has_its_rows_twice(
    kept: int, run_cli: RunCli, tmp_path: Path
) -> None:
    output = tmp_path / "s.csv"
    first, second = sorted(FACES.glob("*.png"))[:2]
    listed = (first, first, second, first, f"{second.parent}/./{second.name}")
    run_cli("score", *listed, "-o", output, *FAST)
    whole = output.read_bytes()
    output.write_bytes(b"".join(whole.splitlines(keepends=True)[: kept + 1]))
    done = run_cli("score", *listed, "-o", output, "--resume", *FAST)
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == whole


def test_another_way_to_write_a_path_is_the_same_photo(run_cli: RunCli, tmp_path: Path) -> None:
    shutil.copytree(FACES, tmp_path / "rs")
    run_cli("score", "rs", "-o", "s.csv", *FAST)
    before = (tmp_path / "s.csv").read_bytes()
    done = run_cli("score", ".//rs/", "-o", "s.csv", "--resume", *FAST)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "s.csv").read_bytes().splitlines()) == len(before.splitlines())


def row_of(path: str, **cells: object) -> dict[str, str]:
    """Return a row's cells as text."""
    plain = {"status": "ok", "width": 100, "height": 50, "model": "base@1", "path": path}
    return {name: str((plain | cells).get(name, "")) for name in COLUMNS}


BOX = {"x1": 10.0, "y1": 10.0, "x2": 40.0, "y2": 50.0}


def test_a_video_that_is_listed_twice_may_begin_again() -> None:
    asked = Asked(model="base@1", every_s=0.5)
    asked.check_row(Path("s.csv"), row_of("v.mp4#t=0.000"), row_of("v.mp4#t=0.500"))


@pytest.mark.parametrize(
    ("rows", "asked", "option"),
    [
        ([row_of("v.mp4#t=0.000"), row_of("v.mp4#t=0.500")], {"every_s": 1.0}, "--every"),
        ([row_of("v.mp4#t=0.000")], {}, "--every"),
        ([row_of("v.mp4", status="unreadable", error=NOT_OPENED)], {"every_s": 1.0}, "--every"),
        ([row_of("a.jpg")], {"max_pixels": 4999}, "--max-megapixels"),
        (
            [row_of("a.jpg", face=0, n_faces=1, **BOX)],
            {"faces": FaceSearch(min_face_px=31)},
            "--min-face",
        ),
        (
            [row_of("a.jpg", status="no_face", n_faces=0, error="no face was found")],
            {"faces": FaceSearch(min_face_px=31)},
            "--min-face",
        ),
        (
            [row_of("a.jpg", face=1, n_faces=2, **BOX)],
            {"faces": FaceSearch(max_faces=1)},
            "--max-faces",
        ),
        (
            [row_of("a.jpg", face=0, n_faces=2, **BOX), row_of("b.jpg", status="unreadable")],
            {"faces": FaceSearch(max_faces=2)},
            "--max-faces",
        ),
    ],
)
def test_rows_that_show_another_option_are_refused(
    rows: list[dict[str, str]], asked: dict[str, Any], option: str, tmp_path: Path
) -> None:
    def check(**asked: Any) -> None:
        for before, cells in zip([None, *rows], rows, strict=False):
            Asked(model="base@1", **asked).check_row(tmp_path, cells, before)

    with pytest.raises(ConfigError, match=f"was begun with another {option}, as the rows up to"):
        check(**asked)
    begun: dict[str, Any] = {"every_s": 0.5} if rows[0]["path"] != "v.mp4" else {}
    if "faces" in asked:
        begun["faces"] = FaceSearch(max_faces=1 if len(rows) == 2 else None)
    check(**begun)


def test_a_bare_carriage_return_is_named(run_cli: RunCli, tmp_path: Path) -> None:
    output = tmp_path / "s.csv"
    run_cli("score", FACES, "-o", output, *FAST)
    output.write_bytes(output.read_bytes().replace(b"bad", b"b\rd"))
    done = run_cli("score", FACES, "-o", output, "--resume", *FAST)
    assert done.returncode == 2
    assert "is not, or not all, rows that mspt wrote" in done.stderr


def test_rows_of_another_model_or_other_options_are_refused(
    run_cli: RunCli, tmp_path: Path
) -> None:
    output = tmp_path / "s.csv"
    run_cli("score", FACES, "-o", output, *FAST)
    for options, message in (
        (("--model", "base", "--backend", "onnxruntime"), "its rows are by fast@"),
        ((*FAST, "--factors"), "its rows have other columns than these options give (blockiness"),
    ):
        done = run_cli("score", FACES, "-o", output, "--resume", *options)
        assert done.returncode == 2
        assert message in done.stderr


def test_a_refused_resume_leaves_nothing_beside_a_parquet_file(
    run_cli: RunCli, tmp_path: Path
) -> None:
    run_cli("score", ORIGINAL, "-o", "s.parquet", *FAST)
    before = (tmp_path / "s.parquet").read_bytes()
    done = run_cli("score", ORIGINAL, "-o", "s.parquet", "--resume", "--backend", "onnxruntime")
    assert "its rows are by fast@" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["s.parquet"], (
        "later rows would be taken for old"
    )
    assert (tmp_path / "s.parquet").read_bytes() == before


@pytest.mark.parametrize("text", ['{"path": 5}', f"{'[' * 100_000}\n"])
def test_lines_of_others_are_left_alone(text: str, run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "k.jsonl").write_text(text)
    done = run_cli("score", ORIGINAL, "-o", "k.jsonl", "--resume", *FAST)
    assert done.returncode == 2
    assert "is not, or not all, rows that mspt wrote" in done.stderr
    assert (tmp_path / "k.jsonl").read_text() == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--resume",), "--resume and --overwrite are about a file of rows; add -o FILE"),
        (("-o", "s.csv", "--resume", "--overwrite"), "give one"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: tuple[str, ...], message: str, run_cli: RunCli
) -> None:
    done = run_cli("score", ORIGINAL, *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_first_run_may_say_resume(run_cli: RunCli, tmp_path: Path) -> None:
    assert run_cli("score", ORIGINAL, "-o", "s.csv", "--resume", *FAST).returncode == 0
    assert len(list(open_scores(tmp_path / "s.csv").rows())) == 1


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_a_photo_named_as_output_is_left_alone(
    run_cli: RunCli, tmp_path: Path, option: str
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"a photo")
    done = run_cli("score", ORIGINAL, option, "-o", photo)
    assert done.returncode == 2
    assert "rows are written as .csv, .jsonl or .parquet" in done.stderr
    assert photo.read_bytes() == b"a photo"


@pytest.mark.parametrize("name", ["notes.csv", "notes.jsonl", "s.parquet.rows.jsonl"])
@pytest.mark.parametrize("text", ["my notes", "my notes\n", "my notes\nmore\n"])
def test_what_is_no_file_of_rows_is_left_alone(
    run_cli: RunCli, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    output = tmp_path / name.removesuffix(".rows.jsonl")
    done = run_cli("score", ORIGINAL, "--resume", "-o", output)
    assert done.returncode == 2
    assert (tmp_path / name).read_text() == text


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_spoilt_row_in_the_middle_costs_no_row(
    run_cli: RunCli, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"s{suffix}"
    run_cli("score", ORIGINAL, "-o", output)
    row = output.read_text().splitlines(keepends=True)[-1]
    output.write_text(output.read_text() + "spoilt\n" + row)
    before = output.read_bytes()
    assert run_cli("score", ORIGINAL, "--resume", "-o", output).returncode == 2
    assert output.read_bytes() == before


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_a_file_that_another_run_writes_to_is_left_alone(
    form: str, option: str, run_cli: RunCli, tmp_path: Path
) -> None:
    output = tmp_path / f"s{form}"
    with RowWriter(output) as first:
        first.write(Scorer("fast").score(ORIGINAL))
        before = journal_of(output).read_bytes()
        second = run_cli("score", ORIGINAL, "-o", output, option, *FAST)
        assert second.returncode == 2
        assert "another run writes to it now" in second.stderr
        assert journal_of(output).read_bytes() == before
    after = run_cli("score", ORIGINAL, "-o", output, "--overwrite", *FAST)
    assert after.returncode == 0, "the first one is done: its claim went with it"


def test_rows_of_photos_that_are_not_scored_again_stay(run_cli: RunCli, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        shutil.copy(ORIGINAL, tmp_path / f"{name}.png")
    assert run_cli("score", "a.png", "b.png", "-o", "r.csv").returncode == 0
    assert run_cli("score", "c.png", "-o", "r.csv", "--resume").returncode == 0
    rows = (tmp_path / "r.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[0] for row in rows] == ["path", "a.png", "b.png", "c.png"]


def test_what_is_refused_replaces_no_rows(
    run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_cli("score", ORIGINAL, "-o", "r.csv").returncode == 0
    before = (tmp_path / "r.csv").read_bytes()
    monkeypatch.setenv("MSPT_DETECTOR", str(tmp_path / "none.onnx"))
    done = run_cli("score", ORIGINAL, "--detect", "-o", "r.csv", "--overwrite")
    assert done.returncode != 0
    assert (tmp_path / "r.csv").read_bytes() == before


@pytest.mark.parametrize("form", FORMS)
def test_two_runs_that_go_on_at_once_lose_no_row(form: str, tmp_path: Path) -> None:
    output, result = tmp_path / f"s{form}", Scorer("fast").score(ORIGINAL)
    with RowWriter(output) as rows:
        for name in ("a", "b"):
            rows.write(replace(result, path=name))
    prepared = [
        prepare_output(
            output, COLUMNS, resume=True, overwrite=False, asked=Asked(model=result.model)
        )
        for _ in range(2)
    ]
    assert [kept.photos for kept in prepared] == [{"a": 1}, {}]
    with pytest.raises(WriteError, match="another run wrote to it just now"):
        RowWriter(output, COLUMNS, prepared[0].size)
    with RowWriter(output, COLUMNS, prepared[1].size) as second:
        for name in ("a", "b"):
            second.write(replace(result, path=name))
    assert [row.path for row in open_scores(output).rows()] == ["a", "b"]


def test_shards_whose_names_are_no_text_are_scored_once(run_cli: RunCli, tmp_path: Path) -> None:
    shard = os.fsencode(tmp_path) + b"/\xff.tar"
    make_tar(tmp_path / "s.tar", {"1.png": ORIGINAL.read_bytes(), "2.png": ORIGINAL.read_bytes()})
    os.rename(tmp_path / "s.tar", shard)
    shutil.copy(ORIGINAL, tmp_path / "t.png")
    assert run_cli("score", ".", "-o", "r.csv", *FAST).returncode == 0
    before = (tmp_path / "r.csv").read_bytes()
    assert run_cli("score", ".", "-o", "r.csv", "--resume", *FAST).returncode == 0
    assert (tmp_path / "r.csv").read_bytes() == before
    shutil.copy(ORIGINAL, os.fsencode(tmp_path) + b"/\xfe.png")
    shutil.copy(ORIGINAL, tmp_path / r"\xfe.png")
    done = run_cli("score", ".", "-o", "r.csv", "--resume", *FAST)
    assert done.returncode == 0, done.stderr
    names = sorted(row.path for row in open_scores(tmp_path / "r.csv").rows())
    shard = [r"./\xff.tar/1.png", r"./\xff.tar/2.png"]
    assert names == sorted([*shard, "./t.png", r"./\x5cxfe.png", r"./\xfe.png"])


def test_a_parquet_file_stopped_before_its_first_row_is_gone_on_with(
    run_cli: RunCli, tmp_path: Path
) -> None:
    def stop() -> None:
        with RowWriter(tmp_path / "s.parquet"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert (tmp_path / "s.parquet").exists()
    done = run_cli("score", ORIGINAL, "-o", "s.parquet", "--resume", *FAST)
    assert done.returncode == 0, done.stderr
    assert len(list(open_scores(tmp_path / "s.parquet").rows())) == 1


def test_restoring_what_is_no_journal_deletes_nothing(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("my note")
    shutil.copy(ORIGINAL, tmp_path / "a.png")
    for name in ("note.txt", "a.png"):
        done = run_cli("restore", name)
        assert done.returncode != 0
        assert f"{name}: is no journal of moved photos" in done.stderr
        assert (tmp_path / name).exists()


def test_a_file_that_a_spreadsheet_saved_is_named(run_cli: RunCli, tmp_path: Path) -> None:
    run_cli("score", FACES, "-o", "s.csv", *FAST)
    whole = b"\xef\xbb\xbf" + (tmp_path / "s.csv").read_bytes()
    (tmp_path / "s.csv").write_bytes(whole)
    done = run_cli("score", FACES, "-o", "s.csv", "--resume", *FAST)
    assert done.returncode == 2
    assert "s.csv: begins with a byte order mark, so a spreadsheet has saved it" in done.stderr
    assert (tmp_path / "s.csv").read_bytes() == whole


def test_rows_about_faces_alone_are_not_gone_on_with_without(tmp_path: Path) -> None:
    nobody = row_of("a.jpg", status="no_face", n_faces=0, error="no face was found")
    with pytest.raises(ConfigError, match="was begun with --detect"):
        Asked(model="base@1").check_row(tmp_path, nobody, None)
    broken = row_of("a.jpg", status="unreadable")
    Asked(model="base@1").check_row(tmp_path, broken, None)


def test_a_photo_that_lacks_faces_is_cut_though_it_is_not_listed(tmp_path: Path) -> None:
    output, face = tmp_path / "s.csv", Scorer("fast").score(ORIGINAL)
    box = FaceBox(x1=0, y1=0, x2=9, y2=9, det_score=0.9)
    with RowWriter(output) as rows:
        rows.write(replace(face, path="a", face=0, n_faces=1, box=box))
        rows.write(replace(face, path="b", face=0, n_faces=2, box=box))
    kept = prepare_output(
        output, COLUMNS, resume=True, overwrite=False, images=["c"],
        asked=Asked(model=face.model, faces=FaceSearch()),
    )  # fmt: skip
    assert kept.photos == {"a": 1}


@pytest.mark.parametrize("rate", [24, 25, 29.97, 30, 32, 48, 50, 60, 64, 120, 240])
@pytest.mark.parametrize("every", [0.0333, 0.1, 1 / 3, 0.5, 0.7, 1.0])
def test_frames_of_the_same_interval_are_never_refused(rate: float, every: float) -> None:
    clock, asked, before = Clock(every), Asked(model="base@1", every_s=every), None
    for number in range(round(40 * rate)):
        if clock.is_due(number / rate, 1 / rate):
            cells = row_of(f"v.mp4#t={clock.time_s:.3f}")
            asked.check_row(Path("s.csv"), cells, before)
            before = cells
