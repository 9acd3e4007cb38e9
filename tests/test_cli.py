"""The command line in a subprocess: rows, streams and exit codes by contract."""

import csv
import inspect
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import FACES, ORIGINAL, RunCli, encode
from PIL import Image

from mspt.inference.inputs import find_images
from mspt.inference.scorer import Scorer
from mspt.results import COLUMNS, FACTOR_COLUMNS
from mspt.scores import write as outputs
from mspt.scores.write import RowWriter


def make_mixed_folder(folder: Path, count: int) -> dict[str, str]:
    """Fill a folder with good and bad files; return the status each must get."""
    original = ORIGINAL.read_bytes()
    jpeg = encode(Image.open(ORIGINAL), "JPEG")
    bomb = encode(Image.new("1", (20_000, 20_000)), "PNG")
    kinds = [
        ("good.png", original, "ok"),
        ("gut größer.jpg", jpeg, "ok"),
        ("empty.jpg", b"", "unreadable"),
        ("cut.jpg", jpeg[: len(jpeg) // 2], "unreadable"),
        ("cut.png", original[:5000], "unreadable"),
        ("notes.txt", b"no image at all", "unreadable"),
        ("bomb.png", bomb, "too_large"),
        ("pixel.png", encode(Image.new("RGB", (1, 1)), "PNG"), "too_small"),
        ("cmyk.jpg", encode(Image.open(ORIGINAL).convert("CMYK"), "JPEG"), "ok"),
        ("no-suffix", jpeg, "ok"),
    ]
    expected = {}
    for number in range(count):
        name, data, status = kinds[number % len(kinds)]
        path = folder / f"{number % 7}" / f"{number:03d} {name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        expected[str(path)] = status
    return expected


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_no_row_is_a_spreadsheets_formula_where_that_is_asked_for(
    run_cli: RunCli, tmp_path: Path
) -> None:
    names = ["+1.png", "=HYPERLINK(A1).png", "@a.png", "plain.png"]
    for name in names:
        shutil.copy(ORIGINAL, tmp_path / name)
    done = run_cli("score", *names, "-o", "as-named.csv")
    assert done.returncode == 0, done.stderr
    assert [row["path"] for row in read_rows(tmp_path / "as-named.csv")] == names
    for _ in range(2):  # the second run goes on behind these rows
        safe = run_cli("score", *names, "--spreadsheet-safe", "-o", "safe.csv", "--resume")
        assert safe.returncode == 0, safe.stderr
        paths = [row["path"] for row in read_rows(tmp_path / "safe.csv")]
        assert paths == [*(f"./{name}" for name in names[:3]), "plain.png"]
        assert all((tmp_path / path).is_file() for path in paths)


def test_three_hundred_mixed_files_give_a_row_each(run_cli: RunCli, tmp_path: Path) -> None:
    expected = make_mixed_folder(tmp_path / "photos", 300)
    done = run_cli("score", tmp_path / "photos", "--all-files", "-o", tmp_path / "scores.csv")
    assert done.returncode == 0, done.stderr
    rows = read_rows(tmp_path / "scores.csv")
    assert [row["path"] for row in rows] == sorted(expected)
    assert {row["path"]: row["status"] for row in rows} == expected
    for row in rows:
        assert tuple(row) == COLUMNS
        assert (row["score"] != "") == (row["status"] == "ok") == (row["error"] == "")
    assert done.stderr == "180 of 300 rows are not ok\n"
    again = ("--all-files", "--strict", "-o", tmp_path / "again.csv")
    strict = run_cli("score", tmp_path / "photos", *again)
    assert strict.returncode == 1
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "scores.csv").read_bytes()


def test_scores_go_to_stdout_and_errors_to_stderr(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    done = run_cli("score", ORIGINAL, tmp_path / "empty.jpg")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    score, path = lines[0].split("  ")
    assert 0 <= float(score) <= 1
    assert path == str(ORIGINAL)
    assert lines[1].split() == ["-", str(tmp_path / "empty.jpg")]
    assert "empty.jpg: the file is empty" in done.stderr


def test_json_lines_hold_the_same_rows(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("score", FACES, "-o", tmp_path / "s.jsonl")
    assert done.returncode == 0
    lines = (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [tuple(row) for row in rows] == [COLUMNS] * 11
    run_cli("score", FACES, "-o", tmp_path / "s.csv")
    for row, cells in zip(rows, read_rows(tmp_path / "s.csv"), strict=True):
        assert {k: "" if v is None else str(v) for k, v in row.items()} == cells


def test_parquet_holds_the_same_rows_with_types(run_cli: RunCli, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    for name in ("s.parquet", "s.jsonl"):
        done = run_cli("score", FACES, "gone.jpg", "--factors", "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "s.parquet")
    assert tuple(table.column_names) == COLUMNS + FACTOR_COLUMNS
    kinds = {str(table.schema.field(name).type) for name in ("score", "width", "path")}
    assert kinds == {"double", "int32", "string"}
    lines = (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()
    assert table.to_pylist() == [json.loads(line) for line in lines]
    assert table.to_pylist()[-1]["status"] == "unreadable"


def test_without_pyarrow_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None; from pathlib import Path; "
        "from mspt.scores.write import RowWriter; RowWriter(Path('s.parquet'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "MissingExtraError: pyarrow is not installed" in done.stderr
    assert '".[parquet]"' in done.stderr
    assert not list(tmp_path.iterdir())


def test_globs_files_and_folders_mix_in_the_order_given(run_cli: RunCli) -> None:
    done = run_cli("score", ORIGINAL, str(FACES / "gaussian*.png"), FACES)
    names = [Path(line[8:]).name for line in done.stdout.splitlines()]
    assert names[0] == "original.png"
    assert names[1:4] == sorted(path.name for path in FACES.glob("gaussian*.png"))
    assert len(names) == 1 + 3 + 11


def test_a_double_star_within_a_name_is_a_star(run_cli: RunCli) -> None:
    done = run_cli("score", str(FACES / "gaussian**.png"))
    assert (done.returncode, done.stdout.count("\n")) == (0, 3)
    done = run_cli("score", str(FACES / "**.jpg"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_hidden_files_and_the_output_itself_are_no_photos(run_cli: RunCli, tmp_path: Path) -> None:
    shutil.copy(ORIGINAL, tmp_path / "a.png")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "scores.csv").write_text("old\n")
    done = run_cli("score", ".", "-o", "scores.csv", "--overwrite", cwd=tmp_path)
    assert done.returncode == 0
    assert [row["path"] for row in read_rows(tmp_path / "scores.csv")] == ["./a.png"]


def test_what_programs_and_systems_keep_is_passed_over(run_cli: RunCli, tmp_path: Path) -> None:
    for folder in ("Photos.photoslibrary/originals", "$RECYCLE.BIN", "trip"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(ORIGINAL, tmp_path / folder / "a.png")
    done = run_cli("score", ".")
    assert [line[8:] for line in done.stdout.splitlines()] == ["./trip/a.png"]
    assert "1 other files passed over (1 .photoslibrary)" in done.stderr
    named = run_cli("score", "Photos.photoslibrary")
    assert named.stdout.endswith("Photos.photoslibrary/originals/a.png\n")


def test_workers_do_not_change_the_file(run_cli: RunCli, tmp_path: Path) -> None:
    for workers in (1, 4):
        run_cli("score", FACES, "--workers", str(workers), "-o", tmp_path / f"{workers}.csv")
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "4.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("score",), "give files, folders or patterns, or --from LIST"),
        (("score", "no-such-file.jpg"), "nothing to score: no file found at no-such-file.jpg"),
        (("score", "*.jpg"), "nothing to score"),
        (("score", ".", "--wrong"), "No such option"),
        (("score", str(ORIGINAL), "--model", "bas"), "no model 'bas'"),
        (("score", str(ORIGINAL), "-o", "s.xlsx"), "rows are written as .csv, .jsonl or .parquet"),
        (("score", str(ORIGINAL), "--workers", "0"), "Invalid value for '--workers'"),
        (("evaluate", "none.csv"), "none.csv: cannot be read as CSV: No such file"),
        (("profile", "--budget", "much"), "budget 'much' is not of the form FLOPS,PARAMS"),
        (("train", "none.toml"), "none.toml: no such file"),
        (("export", ".", "m.txt"), "m.txt: a model file's name ends in .onnx"),
        (("synthesize", "none.csv", "out"), "none.csv: cannot be read as CSV"),
        (("synthesize", "none.csv", "out", "--where", "x"), "is not of the form COLUMN=VALUE"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(
    arguments: tuple[str, ...], message: str, run_cli: RunCli
) -> None:
    done = run_cli(*arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_folder_exits_with_2(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("score", tmp_path)
    assert done.returncode == 2
    assert "nothing to score" in done.stderr


def test_an_output_that_cannot_be_written_exits_with_2(run_cli: RunCli) -> None:
    done = run_cli("score", ORIGINAL, "-o", "no/such/folder/s.csv")
    assert done.returncode == 2
    assert "error: no/such/folder/s.csv: No such file or directory" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_is_said_plainly(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "full.csv").symlink_to("/dev/full")
    done = run_cli("score", FACES, "-o", tmp_path / "full.csv")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_profile_prints_the_files_own_figures_and_keeps_a_budget(run_cli: RunCli) -> None:
    done = run_cli("profile", "--json", "--budget", "0.5G,5M")
    assert done.returncode == 0, done.stderr
    profile = json.loads(done.stdout)
    assert (profile["params"], profile["gflops"]) == (1_518_881, 0.46874)
    promised = ["model", "params", "gflops", "short_side", "size_bytes", "ms"]
    assert list(profile)[:6] == promised
    assert [b["backend"] for b in profile["backends"]] == ["onnxruntime", "openvino"]
    assert profile["backends"][0]["difference"] == 0
    assert profile["backends"][1]["difference"] < 0.02
    over = run_cli("profile", "--budget", "0.4G,1M")
    assert over.returncode == 1
    assert "over budget: 0.46874 GFLOPs > 0.4, 1518881 parameters > 1000000" in over.stderr


def test_evaluate_prints_intervals(run_cli: RunCli, tmp_path: Path) -> None:
    lines = ["path,mos"]
    for number, path in enumerate(sorted(FACES.iterdir())):
        shutil.copy(path, tmp_path)
        lines.append(f"{path.name},{number / 10}")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    done = run_cli("evaluate", "m.csv", "--json")
    assert done.returncode == 0, done.stderr
    overall = json.loads(done.stdout)["overall"]
    assert overall["images"] == 11
    assert overall["srcc"]["low"] <= overall["srcc"]["value"] <= overall["srcc"]["high"]
    assert "SRCC" in run_cli("evaluate", "m.csv").stdout
    wrong = run_cli("evaluate", "m.csv", "--split", "vla")
    assert wrong.returncode == 2
    assert "no row has the split 'vla'" in wrong.stderr


def test_version_and_help_answer(run_cli: RunCli) -> None:
    assert run_cli("--version").stdout == "mspt 0.1.0\n"
    assert "perceptual quality" in run_cli("--help").stdout


def test_a_closed_pipe_is_no_error() -> None:
    command = f"'{sys.executable}' -m mspt score '{FACES}' '{FACES}' | head -n 1"
    bash = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(bash, capture_output=True, text=True, check=False)
    assert len(done.stdout.splitlines()) == 1
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_keeps_the_rows_that_were_done(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mspt", "score", *[str(ORIGINAL)] * 5000, "-o", "s.jsonl"]
    # A shell's background job ignores Ctrl-C, and so would its children: these tests may run in one
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, ours)
    output = tmp_path / "s.jsonl"
    deadline = time.monotonic() + 60
    while not (output.exists() and output.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "stopped\n")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert 0 < len(rows) < 5000
    assert all(row["status"] == "ok" for row in rows)


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
@pytest.mark.parametrize("name", ["s.csv", "s.jsonl", "s.parquet"])
def test_a_disk_that_is_full_is_named_and_keeps_whole_rows(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "mspt", "score", *[str(ORIGINAL)] * 40, "-o", name]
    limit = f"ulimit -f 2; exec {shlex.join(command)}"  # blocks of 512 or 1,024 bytes
    done = subprocess.run(["sh", "-c", limit], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"error: {name}: cannot be written: File too large" in done.stderr
    kept = tmp_path / (f"{name}.rows.jsonl" if name.endswith("parquet") else name)
    assert kept.read_bytes().endswith(b"\n")
    whole = subprocess.run([*command, "--resume"], cwd=tmp_path, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_a_polite_kill_closes_a_parquet_file(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    command = [sys.executable, "-m", "mspt", "score", *[str(ORIGINAL)] * 5000]
    process = subprocess.Popen(
        [*command, "-o", "s.parquet"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "s.parquet.rows.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    process.terminate()
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "stopped\n")
    assert 0 < pq.read_table(tmp_path / "s.parquet").num_rows < 5000


def test_rows_of_a_parquet_file_outlive_whatever_ends_the_run(
    tmp_path: Path, scorer: Scorer
) -> None:
    result = scorer.score(ORIGINAL)

    def write_five() -> None:
        with RowWriter(tmp_path / "s.parquet") as rows:
            for _ in range(5):
                rows.write(result)
            raise MemoryError

    with pytest.raises(MemoryError):
        write_five()
    assert [path.name for path in tmp_path.iterdir()] == ["s.parquet.rows.jsonl"]
    assert len((tmp_path / "s.parquet.rows.jsonl").read_text().splitlines()) == 5


def test_parquet_is_written_in_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorer: Scorer
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(outputs, "_GROUP_ROWS", 2)
    result = scorer.score(ORIGINAL)
    with RowWriter(tmp_path / "s.parquet") as rows:
        for _ in range(5):
            rows.write(result)
    with pq.ParquetFile(tmp_path / "s.parquet") as file:
        assert [file.metadata.row_group(i).num_rows for i in range(3)] == [2, 2, 1]


def test_a_file_name_with_a_carriage_return_stays_one_row(run_cli: RunCli, tmp_path: Path) -> None:
    for name in ("a\rb.png", "c.png"):
        shutil.copy(ORIGINAL, tmp_path / name)
    run_cli("score", ".", "-o", "s.csv")
    assert [row["path"] for row in read_rows(tmp_path / "s.csv")] == ["./a\rb.png", "./c.png"]
    assert run_cli("filter", "s.csv", "--top", "2", "-o", "f.csv").returncode == 0
    assert sorted(row["path"] for row in read_rows(tmp_path / "f.csv")) == ["./a\rb.png", "./c.png"]


def test_the_output_is_no_photo_of_the_next_run_however_it_is_reached(
    run_cli: RunCli, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(ORIGINAL, tmp_path / "photos/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    for paths in (("photos",), ("link",), ("photos/a.png", "photos/s.csv")):
        run_cli("score", *paths, "-o", "photos/s.csv")
        (row,) = read_rows(tmp_path / "photos/s.csv")
        assert row["status"] == "ok"


def test_folders_may_nest_deeper_than_python_may_recurse(tmp_path: Path) -> None:
    deepest = tmp_path.joinpath(*["d"] * 100)
    deepest.mkdir(parents=True)
    (deepest / "a.png").touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 50)  # deeper folders would outlast the test
    try:
        found = find_images([str(tmp_path)])
    finally:
        sys.setrecursionlimit(limit)
    assert found.files == [str(deepest / "a.png")]


@pytest.fixture
def set_with_captions(tmp_path: Path) -> Path:
    """A folder as data sets are: photos in two cases, captions, features, a file without suffix."""
    folder = tmp_path / "set"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.png", "b.PNG", "deep/c.png", "no-suffix"):
        shutil.copy(ORIGINAL, folder / name)
    for name in ("a.txt", "b.txt", "deep/c.JSON", "Thumbs.db", "LICENSE", "x.xyz"):
        (folder / name).write_text("not a photo")
    return folder


def test_captions_beside_photos_are_counted_in_a_line(
    run_cli: RunCli, set_with_captions: Path
) -> None:
    for paths in (("set",), ("set/**",)):
        done = run_cli("score", *paths)
        names = [line[8:] for line in done.stdout.splitlines()]
        photos = ["set/a.png", "set/b.PNG", "set/no-suffix", "set/x.xyz", "set/deep/c.png"]
        assert sorted(names) == sorted(photos), "what may be a photo gets a row"
        assert "5 other files passed over (2 .txt, 1 " in done.stderr
        assert done.returncode == 0
    every = run_cli("score", "set", "--all-files")
    assert len(every.stdout.splitlines()) == 10
    assert "passed over" not in every.stderr
    assert "5 other files" in run_cli("score", "s*").stderr, "of a folder that a pattern matched"
    named = run_cli("score", "set/a.txt", "set/*.txt")
    assert len(named.stdout.splitlines()) == 3, "what was named gets its row"


def test_patterns_match_upper_and_lower_case(run_cli: RunCli, set_with_captions: Path) -> None:
    for pattern, count in (
        ("set/*.png", 2),
        ("set/*.PNG", 2),
        ("set/**/*.Png", 3),
        ("set/?.png", 2),
    ):
        assert len(run_cli("score", pattern).stdout.splitlines()) == count, pattern


def test_lists_name_the_photos(run_cli: RunCli, set_with_captions: Path) -> None:
    here = set_with_captions.parent
    (here / "lines.txt").write_text("set/a.png\r\n\nset/b.PNG\n")
    (here / "nul").write_bytes(b"set/a.png\0set/b.PNG\0")
    (here / "table.csv").write_text("id,picture\n1,a.png\n2,b.PNG\n")
    (here / "powershell.txt").write_text("set/a.png\r\nset/b.PNG\r\n", encoding="utf-16")
    (here / "known.jsonl").write_text('{"file": "set/a.png"}\n{"file": "set/b.PNG"}\n')
    for options in (
        ("lines.txt",),
        ("nul", "-0"),
        ("table.csv", "--column", "picture", "--root", "set"),
        ("known.jsonl",),
        ("powershell.txt",),
    ):
        done = run_cli("score", "--from", *options)
        assert done.returncode == 0, done.stderr
        assert [line[8:] for line in done.stdout.splitlines()] == ["set/a.png", "set/b.PNG"]


def test_a_listed_name_is_no_pattern(run_cli: RunCli, set_with_captions: Path) -> None:
    here = set_with_captions.parent
    shutil.copy(ORIGINAL, here / "img1.png")
    (here / "list.txt").write_bytes("\ufeffimg[1].png\nset/a.png\n".encode())
    done = run_cli("score", "--from", "list.txt")
    assert [line.split()[0] == "-" for line in done.stdout.splitlines()] == [True, False]
    assert "img[1].png: cannot be read" in done.stderr
    (here / "nul").write_bytes(b"a*.png\0b.png\0")
    assert "if they end the paths, add -0" in run_cli("score", "--from", "nul").stderr


def test_a_list_may_come_through_a_pipe(set_with_captions: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mspt", "score", "--from", "-", "set/deep"],
        input="set/a.png\ngone.png\n",
        capture_output=True,
        text=True,
        cwd=set_with_captions.parent,
        check=True,
    )
    assert [line.split()[-1] for line in done.stdout.splitlines()] == [
        *("set/deep/c.png", "set/a.png", "gone.png")
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give files, folders or patterns, or --from LIST"),
        (("set", "-0"), "-0 is about a list; add --from LIST"),
        (("set", "--root", "x"), "--root is about a list"),
        (("--from", "gone.txt"), "gone.txt: cannot be read: No such file"),
        (("--from", "empty.txt"), "empty.txt: names no photo"),
        (
            ("--from", "images.jsonl"),
            "images.jsonl, line 1: image is no text: a dict; `mspt cluster",
        ),
        (("--from", "t.csv"), "t.csv, line 2: no column that is known to hold paths; it has id, a"),
        (("--from", "t.csv", "--column", "b"), "t.csv, line 2: no column 'b'; it has id, a"),
        (("--from", "t.csv", "-0"), "t.csv is a table, whose rows no NUL ends; drop -0"),
        (("--from", "empty.txt", "--column", "b"), "is read as lines, not as a table"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_with_the_remedy(
    options: tuple[str, ...], message: str, run_cli: RunCli, tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "images.jsonl").write_text('{"image": {"bytes": "x"}}\n')
    (tmp_path / "t.csv").write_text("id,a\n1,x.png\n")
    done = run_cli("score", *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_what_stands_for_nothing_gets_a_row(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run_cli("score", ORIGINAL, "empty", "*.webp", "gone.jpg", "--strict")
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["-"] * 3
    assert "empty: not a regular file" in done.stderr
    assert "*.webp: cannot be read: No such file" in done.stderr


def test_links_are_followed_once_and_double_stars_name_each_file_once(
    run_cli: RunCli, tmp_path: Path
) -> None:
    (tmp_path / "photos/deep/er").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder in ("photos", "photos/deep/er", "elsewhere"):
        shutil.copy(ORIGINAL, tmp_path / folder / "a.png")
    (tmp_path / "photos/loop").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/linked").symlink_to(elsewhere)
    names = [line[8:] for line in run_cli("score", "photos").stdout.splitlines()]
    assert names == ["photos/a.png", "photos/deep/er/a.png", "photos/linked/a.png"]
    for pattern in ("photos/**", "photos/**/*.png"):
        names = [line[8:] for line in run_cli("score", pattern).stdout.splitlines()]
        assert names[-2:] == ["photos/a.png", "photos/deep/er/a.png"]
        assert len(names) == len(set(names)) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_no_file_name_ends_a_run(
    encoding: str, run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    names = [os.fsencode("日本.png"), b"line\nbreak.png", b"bytes\xff.png"]
    for name in names:
        shutil.copy(os.fsencode(ORIGINAL), os.fsencode(tmp_path) + b"/" + name)
    done = run_cli("score", ".")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert run_cli("score", ".", "-o", "s.csv").returncode == 0
    assert len(read_rows(tmp_path / "s.csv")) == 3
    chosen = run_cli("filter", "s.csv", "--min-score", "0").stdout.splitlines()
    assert [line for line in chosen if "bytes" in line] == ["./bytes\\xff.png"]


def test_a_printed_list_is_a_list_to_score(run_cli: RunCli, tmp_path: Path) -> None:
    for name in (b"bytes\xff.png", b"like\\xff.png", "no\xa0break.png".encode()):
        shutil.copy(os.fsencode(ORIGINAL), os.fsencode(tmp_path) + b"/" + name)
    assert run_cli("score", ".", "-o", "s.csv").returncode == 0
    chosen = run_cli("filter", "s.csv", "--min-score", "0").stdout
    assert sorted(chosen.splitlines()) == [
        "./bytes\\xff.png",
        "./like\\x5cxff.png",
        "./no\\xc2\\xa0break.png",
    ]
    (tmp_path / "list.txt").write_text(chosen)
    done = run_cli("score", "--from", "list.txt", "--strict")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_names_in_a_list_mean_files_below_its_root(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    shutil.copy(ORIGINAL, tmp_path / "root/like\\xff.png")
    (tmp_path / "list.txt").write_text("like\\xff.png\n")
    done = run_cli("score", "--from", "list.txt", "--root", "root", "--strict")
    assert done.returncode == 0, done.stderr
    done = run_cli("score", "--from", "")
    assert "the name of the list is empty; is a shell variable not set?" in done.stderr


def test_a_model_file_is_not_replaced_unasked(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"trained for days")
    done = run_cli("export", "out/run", "mine.onnx")
    assert done.returncode == 2
    assert "mine.onnx exists; name another file, or replace it with --overwrite" in done.stderr
    done = run_cli("export", "out/run", "mine.onnx", "--overwrite")
    assert "out/run" in done.stderr, "the next thing that is wrong"
    assert (tmp_path / "mine.onnx").read_bytes() == b"trained for days"
    done = run_cli("export", "out/run", "")
    assert "the name is empty; is a shell variable not set?" in done.stderr


def test_a_photo_at_the_boundary_of_sizes_is_scored(run_cli: RunCli, tmp_path: Path) -> None:
    gray = np.full((32, 4000, 3), 128, dtype=np.uint8)
    (tmp_path / "thin.png").write_bytes(encode(gray, "PNG"))
    assert run_cli("score", "thin.png", "--strict").returncode == 0


def test_any_columns_are_evaluated_and_two_models_compared(run_cli: RunCli, tmp_path: Path) -> None:
    rows = [f"{path},{9 - 0.1 * i}" for i, path in enumerate(sorted(FACES.glob("*.png")))]
    (tmp_path / "theirs.csv").write_text("\n".join(["image,rating", *rows]))
    options = ("--path-column", "image", "--mos-column", "rating", "--mos-scale", "0,10")
    for model in ("base", "fast"):
        done = run_cli("evaluate", "theirs.csv", *options, "--model", model, "-o", f"{model}.csv")
        assert done.returncode == 0, done.stderr
    scores = {row["path"]: float(row["score"]) for row in read_rows(tmp_path / "base.csv")}
    (original,) = (s for path, s in scores.items() if path.endswith("original.png"))
    assert original == pytest.approx(Scorer().score(ORIGINAL).score, abs=0.02)  # bf16 or not
    compared = run_cli("compare", "base.csv", "fast.csv")
    assert compared.returncode == 0, compared.stderr
    assert "SRCC" in compared.stdout
    for wrong, says in (
        (("--model", "base", "--model", "fast"), "--model is given 2 times"),
        (("-o", "base.csv"), "base.csv exists; name another file"),
        (("-o", "base.txt"), "are written as .csv"),
        (("--mos-column", "mso"), "has no column mso"),
    ):
        done = run_cli("evaluate", "theirs.csv", *options, *wrong)
        assert done.returncode == 2
        assert says in done.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error_and_never_a_files_place(closed: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    mspt_ = shlex.quote(sys.executable) + " -m mspt"
    command = f"{mspt_} score bad.jpg '{ORIGINAL}' -o rows.csv {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, check=False)
    assert done.returncode == 0
    lines = (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["path", "bad.jpg", str(ORIGINAL)]


def test_rows_of_a_list_that_name_no_photo_are_counted(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"path,id\n{ORIGINAL},1\n,2\n{ORIGINAL},3\n,4\n")
    done = run_cli("score", "--from", "t.csv", "--model", "fast")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "2 rows of the list name no photo: their cells are empty" in done.stderr
