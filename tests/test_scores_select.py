"""Choosing rows and thresholds: exact counts, and the file's order among equals."""

import csv
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

import click
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from conftest import FACES, ORIGINAL, ROOT, RunCli
from hypothesis import given
from hypothesis import strategies as st

import mspt.scores
from mspt.cli.choosing import filter_, threshold
from mspt.cli.reporting import report
from mspt.cli.scoring import score
from mspt.errors import ConfigError, DataError
from mspt.scores import copy_photos, find_groups, open_scores, summarise
from mspt.scores.read import ScoreRow
from mspt.scores.select import (
    KEEP_RATES,
    Cut,
    PerPhoto,
    choose,
    cut_at,
    cut_best,
    cut_worst,
    operating_points,
    per_photo,
    photos_below,
    photos_of,
    share_count,
    survey,
)

# Few different values, so that ties are the rule; and any float, so that rounding would show.
SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.500001, 1.0]) | st.floats(0, 1), max_size=40)


def rows_of(scores: Iterable[float | None]) -> list[ScoreRow]:
    return [
        ScoreRow(line, f"{line}.png", value, "ok" if value is not None else "unreadable", {})
        for line, value in enumerate(scores, 2)
    ]


@given(SCORES.filter(bool), st.sampled_from(KEEP_RATES) | st.floats(0.001, 1))
def test_a_threshold_given_back_keeps_exactly_what_it_promised(
    scores: list[float], keep: float
) -> None:
    (point,) = operating_points(np.array(scores), [keep])
    printed = float(repr(point.threshold))
    kept = [row.score for row in choose(rows_of(scores), cut_at(printed))]
    dropped = sorted(scores)[: len(scores) - point.kept]
    assert len(kept) == point.kept >= 1
    assert point.share == point.kept / len(scores)
    assert point.mean_kept == pytest.approx(np.mean(kept))
    assert point.mean_dropped == (pytest.approx(np.mean(dropped)) if dropped else None)


@given(SCORES.filter(bool), st.floats(0.001, 1))
def test_no_other_threshold_comes_nearer_to_the_share(scores: list[float], keep: float) -> None:
    (point,) = operating_points(np.array(scores), [keep])
    wanted = share_count(len(scores), keep)
    possible = [sum(other >= edge for other in scores) for edge in scores]
    assert abs(point.kept - wanted) == min(abs(count - wanted) for count in possible)


@given(SCORES, st.integers(1, 50))
def test_the_best_k_are_the_first_k_of_a_stable_sort(scores: list[float], count: int) -> None:
    rows = rows_of(scores)
    best = sorted(rows, key=lambda row: -(row.score or 0))[:count]
    assert list(choose(rows, cut_best(np.array(scores), count))) == sorted(
        best, key=lambda row: row.line
    )


@given(SCORES, st.integers(1, 50))
def test_the_worst_k_are_the_first_k_of_a_stable_sort(scores: list[float], count: int) -> None:
    rows = rows_of(scores)
    worst = sorted(rows, key=lambda row: row.score or 0)[:count]
    assert list(choose(rows, cut_worst(np.array(scores), count))) == sorted(
        worst, key=lambda row: row.line
    )


@given(SCORES, st.integers(1, 50))
def test_what_is_not_chosen_is_the_rest(scores: list[float], count: int) -> None:
    rows, values = [*rows_of(scores), *rows_of([None])], np.array(scores)
    for cut in (cut_best(values, count), cut_worst(values, count), cut_at(0.5, frozenset("x"))):
        chosen, others = list(choose(rows, cut)), list(choose(rows, cut, invert=True))
        assert len(chosen) + len(others) == len(scores)
        assert not {id(row) for row in chosen} & {id(row) for row in others}


@pytest.mark.parametrize(
    ("total", "keep", "count"),
    [
        (10, 0.8, 8),
        (10, 0.25, 3),
        (10, 0.05, 1),
        (3, 0.1, 1),
        (10, 1.0, 10),
        (7, 0.5, 4),
        (0, 1, 0),
    ],
)
def test_a_share_is_rounded_and_never_none_of_some(total: int, keep: float, count: int) -> None:
    assert share_count(total, keep) == count


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.01, 80, float("nan")])
def test_a_share_outside_0_and_1_is_refused(keep: float) -> None:
    with pytest.raises(
        ConfigError, match="must be above 0 and at most 1, got .*keeps the best 80 %"
    ):
        share_count(10, keep)


@pytest.mark.parametrize("min_score", [-0.1, 1.01, float("nan")])
def test_a_score_outside_the_scale_is_refused(min_score: float) -> None:
    with pytest.raises(ConfigError, match=r"--min-score must lie in 0\.\.1"):
        cut_at(min_score)


def test_rows_without_a_score_are_never_chosen() -> None:
    rows = rows_of([0.0, None, 1.0])
    found = survey(rows)
    assert (found.rows, found.failed, found.scores.tolist()) == (3, {"unreadable": 1}, [0.0, 1.0])
    for cut in (cut_at(0), cut_best(found.scores, 3), Cut(0.0)):
        assert [row.score for row in choose(rows, cut)] == [0.0, 1.0]


def test_photos_are_named_once_in_either_order() -> None:
    chosen = [("b", 0.2), ("a", 0.9), ("b", 0.9), ("c", 0.5)]
    assert photos_of(chosen, "file") == ["b", "a", "c"]
    assert photos_of(chosen, "best") == ["a", "b", "c"]
    assert photos_of(chosen, "worst") == ["b", "c", "a"]


def test_a_photo_with_a_face_that_fails_is_below() -> None:
    faces = [("a", 0.9), ("a", 0.3), ("b", 0.9), ("c", None), ("c", 0.9), ("d", 0.5)]
    rows = [ScoreRow(1, path, value, "ok", {}) for path, value in faces]
    assert photos_below(rows, 0.5) == {"a", "c"}


# The commands


def write_scores(path: Path, rows: Iterable[tuple[str, float | None]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "score", "status"])
        writer.writerows(
            (name, value, "unreadable" if value is None else "ok") for name, value in rows
        )
    return path


def run(command: click.Command, *arguments: str | Path) -> Result:
    """Run a command; whatever it raises is raised here, but not its exit code."""
    done = CliRunner().invoke(command, [*map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


FIVE = [("c.png", 0.5), ("a.png", 0.9), ("x.png", None), ("b.png", 0.5), ("d.png", 0.1)]


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    return write_scores(tmp_path / "scores.csv", FIVE)


@pytest.mark.parametrize(
    ("options", "photos", "said"),
    [
        (["--min-score", "0.5"], "c a b", "3 of 5 rows chosen; left out: 1 below 0.5, 1 not"),
        (["--min-score", "0"], "c a b d", "4 of 5 rows chosen; left out: 1 not scored (unreadable"),
        (["--min-score", "1"], "", "0 of 5 rows chosen; left out: 4 below 1, 1 not scored"),
        (["--top", "2"], "a c", "2 of 5 rows chosen; left out: 2 not among the 2 best, 1 not"),
        (["--top", "9"], "a c b d", "4 of 5 rows chosen; left out: 1 not scored"),
        (["--keep", "0.75", "--list"], "a c b", "3 of 5 rows chosen"),
        (["--worst", "2"], "d c", "2 of 5 rows chosen; left out: 2 not among the 2 worst, 1 not"),
        (["--top", "1", "--invert"], "c b d", "3 of 5 rows chosen by --invert; without it, 1 of"),
        (["--min-score", "0.5", "--invert"], "d", "1 of 5 rows chosen by --invert"),
    ],
)
def test_filter_prints_what_it_chose_and_why_not_the_rest(
    options: list[str], photos: str, said: str, scores: Path
) -> None:
    done = run(filter_, scores, *options)
    assert done.exit_code == 0
    assert done.stdout.split() == [f"{name}.png" for name in photos.split()]
    assert done.stderr.startswith(said)


def test_rows_written_keep_their_order_and_stdout_stays_empty(scores: Path, tmp_path: Path) -> None:
    done = run(filter_, scores, "--top", "2", "-o", tmp_path / "best.csv")
    assert done.stdout == ""
    assert (tmp_path / "best.csv").read_text() == "path,score,status\nc.png,0.5,ok\na.png,0.9,ok\n"
    both = run(filter_, scores, "--top", "2", "-o", tmp_path / "best.jsonl", "--list")
    assert both.stdout.split() == ["a.png", "c.png"]
    lines = (tmp_path / "best.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"path": "a.png", "score": 0.9, "status": "ok"}


def test_rows_can_be_written_as_parquet_and_read_again(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    lines = [
        "path,face,score,status,mine",
        "a.png,0,0.9,ok,x",
        "b.png,,0.5,ok,",
        "c.png,,,no_face,",
    ]
    (tmp_path / "s.csv").write_text("\n".join(lines))
    run(filter_, tmp_path / "s.csv", "--top", "2", "-o", tmp_path / "best.parquet")
    table = pq.read_table(tmp_path / "best.parquet").to_pydict()
    assert table == {
        "path": ["a.png", "b.png"],
        "face": [0, None],
        "score": [0.9, 0.5],
        "status": ["ok", "ok"],
        "mine": ["x", None],
    }
    again = run(filter_, tmp_path / "best.parquet", "--top", "1", "-o", tmp_path / "one.csv")
    assert again.exit_code == 0
    assert "a.png" in (tmp_path / "one.csv").read_text()


def test_all_faces_asks_every_face_of_a_photo(tmp_path: Path) -> None:
    faces = [("a", 0.9), ("a", 0.3), ("b", 0.9), ("b", 0.8), ("c", 0.9), ("c", None)]
    scores = write_scores(tmp_path / "s.csv", faces)
    assert run(filter_, scores, "--min-score", "0.5").stdout.split() == ["a", "b", "c"]
    done = run(filter_, scores, "--min-score", "0.5", "--all-faces")
    assert done.stdout.split() == ["b"]
    assert done.stderr == (
        "2 of 6 rows chosen; left out: 1 below 0.5, 2 beside a face that does not pass, "
        "1 not scored (unreadable 1)\n"
    )


def faces_of(*photos: tuple[float | None, ...]) -> list[ScoreRow]:
    return [
        ScoreRow(1, f"{n}.png", value, "ok" if value is not None else "too_small", {"score": value})
        for n, faces in enumerate(photos)
        for value in faces
    ]


@pytest.mark.parametrize(
    ("how", "expected"),
    [("worst", [0.2, 0.7, None]), ("largest", [0.9, None, None]), ("mean", [0.5, 0.75, None])],
)
def test_a_photo_counts_by_its_worst_its_largest_or_all_faces(
    how: PerPhoto, expected: list[float | None]
) -> None:
    rows = faces_of((0.9, 0.2, 0.4), (None, 0.8, 0.7), (None,))
    found = list(per_photo(rows, how))
    assert [row.path for row in found] == ["0.png", "1.png", "2.png"]
    assert [row.score for row in found] == pytest.approx(expected)
    assert [row.cells["score"] for row in found] == pytest.approx(expected)


def test_a_photo_whose_rows_lie_apart_is_refused() -> None:
    first, second, third = faces_of((0.9,), (0.5,), (0.1,))
    with pytest.raises(DataError, match=r"0.png: its rows do not stand together"):
        list(per_photo([first, second, third._replace(path="0.png")], "worst"))
    alone = [row._replace(cells={**row.cells, "n_faces": "1"}) for row in (first, second)]
    assert list(per_photo(alone, "worst")) == alone


@pytest.mark.parametrize("numbers", [("1", "0"), ("1.0", "0.0"), (1.0, 0.0), (1, 0), (1, "nan")])
def test_the_largest_face_is_known_by_its_number_in_a_sorted_file(numbers: tuple[object]) -> None:
    rows = [
        row._replace(path="a.png", cells={**row.cells, "face": face})
        for row, face in zip(faces_of((0.2,), (0.9,)), numbers, strict=True)
    ]
    assert [row.score for row in per_photo(rows, "largest")] == [0.9]


def test_a_photo_with_one_row_keeps_all_of_it_in_a_mean() -> None:
    rows = [row._replace(cells={**row.cells, "percentile": 70.0}) for row in faces_of((0.9,))]
    assert list(per_photo(rows, "mean")) == rows


def test_without_scores_there_is_no_threshold() -> None:
    with pytest.raises(ConfigError, match="there are no scores"):
        operating_points(np.array([]), [0.5])


def test_a_mean_says_nothing_that_is_one_faces_alone(tmp_path: Path) -> None:
    cells = {"n_faces": 2, "percentile": 70.0, "band": "excellent", "x1": 3.0, "det_score": 0.9}
    cells |= {"width": 640, "sharpness": 0.7, "my_column": "mine"}
    rows = [row._replace(cells={**row.cells, **cells}) for row in faces_of((0.9, 0.2))]
    (mean,) = per_photo(rows, "mean")
    assert {name: mean.cells[name] for name in cells} == {
        **cells, "percentile": "", "band": "fair", "x1": "", "det_score": "", "sharpness": "",
    }  # fmt: skip


def test_filter_and_threshold_count_photos_where_they_are_told_to(tmp_path: Path) -> None:
    faces = [("a.png", 0.9), ("a.png", 0.1), ("b.png", 0.5), ("b.png", 0.6)]
    scores = write_scores(tmp_path / "s.csv", faces)
    best = run(filter_, scores, "--top", "1", "--per-photo", "worst")
    assert best.stdout == "b.png\n"
    assert "1 of 2 rows chosen" in best.stderr
    assert run(filter_, scores, "--top", "1", "--per-photo", "largest").stdout == "a.png\n"
    told = run(threshold, scores, "--keep", "0.5", "--per-photo", "mean")
    assert "--min-score 0.55 --per-photo mean" in told.stdout
    with pytest.raises(ConfigError, match="both say what a photo's faces mean"):
        run(filter_, scores, "--min-score", "0.2", "--all-faces", "--per-photo", "mean")


def test_a_photo_with_a_chosen_face_is_not_among_the_others(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "s.csv", [("a", 0.9), ("a", 0.3), ("b", 0.2)])
    assert run(filter_, scores, "--min-score", "0.5", "--invert").stdout.split() == ["b"]
    run(filter_, scores, "--min-score", "0.5", "--invert", "-o", tmp_path / "rest.csv")
    assert (tmp_path / "rest.csv").read_text() == "path,score,status\na,0.3,ok\nb,0.2,ok\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "choose by exactly one of --min-score S, --top K, --keep P and --worst K"),
        (["--top", "1", "--keep", "0.5"], "choose by exactly one"),
        (["--top", "1", "--all-faces"], "it needs --min-score S"),
        (["--keep", "80"], "--keep must be above 0 and at most 1, got 80 "),
        (["--min-score", "nan"], "--min-score must lie in 0..1, the scale of scores, got nan"),
        (
            ["--top", "1", "-o", "best.xlsx"],
            "best.xlsx: rows are written as .csv, .jsonl or .parquet",
        ),
    ],
)
def test_filter_refuses_what_it_cannot_mean(options: list[str], message: str, scores: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        run(filter_, scores, *options)


def test_top_of_nothing_is_no_choice_for_click(scores: Path) -> None:
    assert run(filter_, scores, "--top", "0").exit_code == 2


def test_every_threshold_that_is_printed_is_honoured_by_filter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).permutation(101) / 1e6 + 0.5  # rounding would show
    write_scores(Path("my scores.csv"), [(f"{i}.png", float(v)) for i, v in enumerate(values)])
    said = run(threshold, "my scores.csv", "--keep", "0.8").stdout
    lines = re.findall(r"^ *([\d.]+) % +(\S+) +(\d+) ", said, flags=re.MULTILINE)
    assert [float(keep) / 100 for keep, _, _ in lines] == list(KEEP_RATES)
    for _, minimum, kept in lines:
        done = run(filter_, "my scores.csv", "--min-score", minimum)
        assert len(done.stdout.split()) == int(kept)
    promised, command = re.findall(r"to keep 80 %, (\d+) rows: mspt filter (.+)", said)[0]
    assert promised == "81"
    assert len(run(filter_, *shlex.split(command)).stdout.split()) == 81


def test_threshold_as_json_says_the_same(scores: Path) -> None:
    done = json.loads(run(threshold, scores, "--keep", "0.5", "--json").stdout)
    assert (done["rows"], done["scored"]) == (5, 4)
    assert done["asked"] == {
        "keep": 0.5,
        "threshold": 0.5,
        "kept": 3,  # of the two rows with 0.5 both are kept
        "share": 0.75,
        "mean_kept": pytest.approx(1.9 / 3),
        "mean_dropped": 0.1,
    }
    assert [point["keep"] for point in done["table"]] == list(KEEP_RATES)
    assert done["table"][0]["mean_dropped"] is None
    assert json.loads(run(threshold, scores, "--json").stdout)["asked"] is None


def test_threshold_needs_a_score(tmp_path: Path) -> None:
    scores = write_scores(tmp_path / "s.csv", [("a.png", None)])
    with pytest.raises(ConfigError, match=r"s\.csv: none of its 1 rows has a score"):
        run(threshold, scores)
    assert run(filter_, scores, "--top", "3").stdout == ""


# The page of the docs

PAGE = ROOT / "docs/use-scores.md"


def test_the_page_on_using_scores_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(FACES, tmp_path / "examples/faces")
    monkeypatch.chdir(tmp_path)
    commands = {command.name: command for command in (score, filter_, threshold, report)}
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 8
    for line in lines:
        program, name, *arguments = shlex.split(line.partition(" | ")[0], comments=True)
        assert program == "mspt"
        done = run(commands[name], *arguments)
        assert done.exit_code == 0, f"{line}\n{done.output}"
    assert {"scores.csv", "good.csv", "best", "report.html"} <= {*os.listdir(tmp_path)}
    assert ORIGINAL.name in os.listdir(tmp_path / "best")
    write_dataset(tmp_path / "faces.parquet", sorted((tmp_path / "examples/faces").glob("*.png")))
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(code, {})  # the same working directory: the page's own scores.csv
    assert len((tmp_path / "best.csv").read_text().splitlines()) == 6
    assert (tmp_path / "best.html").is_file()
    said = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert [[str(n), row["score"]] for n, row in enumerate(csv.DictReader(file))] == said


def write_dataset(path: Path, photos: list[Path]) -> None:
    """Write photos as Hugging Face's `datasets` does."""
    images = [{"bytes": photo.read_bytes(), "path": photo.name} for photo in photos]
    pyarrow.parquet.write_table(pyarrow.table({"image": images}), path)


def test_what_the_module_names_is_there() -> None:
    from mspt import scores as public

    assert all(getattr(public, name) for name in public.__all__)
    assert not hasattr(public, "no_such_name")


def test_the_scores_file_is_never_written_over(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("path,score,status\na.png,0.5,ok\nb.png,0.6,ok\n")
    before = (tmp_path / "s.csv").read_bytes()
    done = run_cli("filter", "s.csv", "--top", "1", "-o", "./s.csv")
    assert done.returncode == 2
    assert "s.csv: is the scores file itself; name another one" in done.stderr
    assert (tmp_path / "s.csv").read_bytes() == before


def test_arguments_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    scores, photo = np.array([0.1, 0.5]), [str(ORIGINAL)]
    for cut in (cut_best, cut_worst):
        with pytest.raises(ConfigError, match="-3 rows cannot be chosen; 0 is the least"):
            cut(scores, -3)
    with pytest.raises(ConfigError, match="how is 'best', but must be one of worst, largest, mean"):
        list(per_photo(rows_of([0.1]), "best"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="by is 'foo', but must be one of burst, alike"):
        find_groups(photo, "foo")  # type: ignore[arg-type]
    quiet = {"on_progress": lambda done, failed: None}
    with pytest.raises(ConfigError, match="how is 'symlink', but must be one of copy, link, move"):
        copy_photos(photo, tmp_path, how="symlink", **quiet)  # type: ignore[arg-type]
    assert copy_photos(photo, str(tmp_path / "text"), **quiet).copied == 1
    (tmp_path / "s.csv").write_text("path,score,status\na.png,0.5,ok\n")
    with pytest.raises(ConfigError, match="min_score and keep both name a threshold; give one"):
        summarise(open_scores(tmp_path / "s.csv"), 3, min_score=0.5, keep=0.5)
    (tmp_path / "s.csv").write_text("path,score,status\na.png,,unreadable\n")
    with pytest.raises(ConfigError, match="--keep must be above 0 and at most 1, got 2"):
        summarise(open_scores(tmp_path / "s.csv"), 3, keep=2)


def test_public_names_are_listed() -> None:
    assert {"open_scores", "copy_photos"} <= set(dir(mspt.scores))
