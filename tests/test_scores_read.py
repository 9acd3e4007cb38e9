"""Scores files read back: all forms alike, and a clear word on whatever is wrong with one."""

import csv
import importlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import FACES, ORIGINAL

from mspt.cli.scoring import score
from mspt.errors import ConfigError, DataError, DecodeError, MissingExtraError, WriteError
from mspt.results import COLUMNS, FaceBox, QualityScore
from mspt.scores.read import file_of, open_scores, write_rows

ROWS = [
    QualityScore(path="a.png", score=0.75, percentile=80.0, width=320, height=320, model="base@1"),
    replace(
        QualityScore.failed("b, c.png", DecodeError("cut"), "base@1"),
        error='cut "short"\nhere',  # as other programs may write it
    ),
    QualityScore(
        path="größer.png",
        score=0.5,
        percentile=40.0,
        box=FaceBox(x1=1.5, y1=2, x2=30, y2=40, det_score=0.9),
        face=0,
        n_faces=2,
        model="base@1",
    ),
]


def write_csv(path: Path, **columns: list[object]) -> Path:
    """Write ROWS, with further columns at the end."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *columns])
        for number, row in enumerate(ROWS):
            writer.writerow(
                [*row.to_dict().values(), *(cells[number] for cells in columns.values())]
            )
    return path


def write_jsonl(path: Path) -> Path:
    lines = [json.dumps(row.to_dict()) + "\n" for row in ROWS]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def read(path: Path) -> list[tuple[str, float | None, str]]:
    return [(row.path, row.score, row.status) for row in open_scores(path).rows()]


EXPECTED = [
    ("a.png", 0.75, "ok"),
    ("b, c.png", None, "unreadable"),
    ("größer.png", 0.5, "ok"),
]


def test_csv_and_json_lines_give_the_same_rows(tmp_path: Path) -> None:
    assert read(write_csv(tmp_path / "s.csv")) == EXPECTED
    assert read(write_jsonl(tmp_path / "s.jsonl")) == EXPECTED


def test_what_mspt_score_writes_is_read_back(tmp_path: Path) -> None:
    for name in ("s.csv", "s.jsonl"):
        done = CliRunner().invoke(score, [str(FACES), str(ORIGINAL), "-o", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
    rows = read(tmp_path / "s.csv")
    assert rows == read(tmp_path / "s.jsonl")
    assert len(rows) == 12
    assert open_scores(tmp_path / "s.csv").columns == COLUMNS


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.Table.from_pylist([row.to_dict() for row in ROWS])
    parquet.write_table(table, tmp_path / "s.parquet")
    assert read(tmp_path / "s.parquet") == EXPECTED
    (tmp_path / "bad.parquet").write_bytes(b"no such thing")
    with pytest.raises(DataError, match=r"bad\.parquet: cannot be read as Parquet"):
        open_scores(tmp_path / "bad.parquet")


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "s.parquet").touch()
    with pytest.raises(MissingExtraError, match=r'pyarrow.* is not installed.*"\.\[parquet\]"'):
        open_scores(tmp_path / "s.parquet")


def test_further_columns_and_a_spreadsheets_mark_do_no_harm(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv", sharpness=[1, "", 2], note=["x", "y", "z"])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\n\n")
    assert read(path) == EXPECTED
    assert open_scores(path).columns == (*COLUMNS, "sharpness", "note")
    assert [row.cells["note"] for row in open_scores(path).rows()] == ["x", "y", "z"]


def test_a_score_counts_only_where_the_status_is_ok(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(HEADER + "a,0.9,no_face\nb,0.8,ok\nc,0.7,OK\n")
    assert [score for _, score, _ in read(tmp_path / "s.csv")] == [None, 0.8, None]


def test_rows_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv")
    with path.open("a", encoding="utf-8") as file:
        file.write("too,few\n")
    rows = open_scores(path).rows()
    assert next(rows).path == "a.png"  # what is wrong further down is not known yet
    with pytest.raises(DataError, match="line 6: 2 fields"):
        list(rows)


HEADER = "path,score,status\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.csv", "", "s.csv: holds no rows; `mspt score PHOTOS -o s.csv` writes some"),
        ("s.csv", HEADER, "s.csv: holds no rows"),
        ("s.jsonl", "\n", "s.jsonl: holds no rows"),
        ("s.csv", "path,mos\na,1\n", "s.csv: has no column score, status; expected a file that"),
        ("s.csv", "path;score;status\na;0.5;ok\n", "separated by semicolons; save it with commas"),
        ("s.csv", "path\tscore\tstatus\na\t0.5\tok\n", "separated by tabs; save it with commas"),
        ("s.csv", "a.jpg,,,0.5\n", "names '' twice; rename one, or add a header"),
        ("s.jsonl", '{"path": "a"}\n', "s.jsonl: has no column score, status"),
        ("s.csv", HEADER + "a,good,ok\n", "s.csv, line 2: score 'good' is not a number"),
        ("s.csv", HEADER + "a,nan,ok\n", "s.csv, line 2: score 'nan' is not a number"),
        ("s.csv", HEADER + "a,1,ok\nb,1.01,ok\n", "line 3: score '1.01' lies outside 0..1"),
        ("s.csv", HEADER + "a,-0.1,ok\n", "line 2: score '-0.1' lies outside 0..1"),
        ("s.csv", HEADER + "a,,ok\n", "line 2: status is ok, but the score is empty"),
        ("s.csv", HEADER + ",0.5,ok\n", "line 2: path '' is not a file name"),
        ("s.jsonl", '{"path": "\\u0000", "score": 1, "status": "ok"}\n', "is not a file name"),
        ("s.csv", HEADER + "a,0.5\n", "line 2: 2 fields, but the header names 3; if the file was"),
        ("s.csv", HEADER + '"a,0.5,ok\n', "line 2: 1 fields, but the header names 3"),
        ("s.jsonl", '{"path": "a", "score": true, "status": "ok"}\n', "score True is not a number"),
        ("s.jsonl", '{"path": 7, "score": 0.5, "status": "ok"}\n', "path 7 is not a file name"),
        ("s.jsonl", '{"path": "\\ud800", "score": 0.5, "status": "ok"}\n', "is not a file name"),
        ("s.jsonl", "[1, 2]\n", "line 1: '[1, 2]' is not a JSON object"),
        ("s.txt", "a", "s.txt: scores are read from .csv, .jsonl, .parquet, not '.txt'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(tmp_path / name)
    assert message in str(caught.value)


def test_a_last_json_line_cut_short_is_told_from_a_wrong_one(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "s.jsonl")
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-30], encoding="utf-8")
    with pytest.raises(DataError, match=r"s\.jsonl, line 3: .* the last line is cut short"):
        read(path)
    path.write_text(whole.replace('"a.png"', "a.png"), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1: no JSON object") as caught:
        read(path)
    assert "cut short" not in str(caught.value)


def test_a_json_line_without_a_column_is_named(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "s.jsonl")
    with path.open("a", encoding="utf-8") as file:
        file.write('{"path": "d", "score": 0.5}\n')
    with pytest.raises(DataError, match="line 4: has no column status, unlike the first row"):
        read(path)


def test_a_missing_file_and_other_encodings_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: no such file; `mspt score PHOTOS"):
        read(tmp_path / "no.csv")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"gr\xfcn.png,0.5,ok\n")
    with pytest.raises(DataError, match="latin.csv: is not UTF-8 text"):
        read(tmp_path / "latin.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="folder.csv: cannot be read"):
        read(tmp_path / "folder.csv")


@pytest.mark.parametrize(
    ("column", "message"),
    [("path", "path b'a.png' is not a file name"), ("score", "score b'0.5' is not a number")],
)
def test_bytes_of_a_parquet_file_are_no_text(column: str, message: str, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    cells = {"path": "a.png", "score": "0.5", "status": "ok"}
    cells[column] = cells[column].encode()
    table = pa.table({name: [cell] for name, cell in cells.items()})
    importlib.import_module("pyarrow.parquet").write_table(table, tmp_path / "s.parquet")
    with pytest.raises(DataError, match=f"line 1: {re.escape(message)}"):
        read(tmp_path / "s.parquet")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_a_table_has_no_column_for_is_not_lost(form: str, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "s.jsonl")
    with path.open("a", encoding="utf-8") as file:
        file.write('{"path": "d", "score": 0.5, "status": "ok", "more": "x"}\n')
    file = open_scores(path)
    with pytest.raises(DataError, match=r"columns that the table lacks \(more\)"):
        write_rows(tmp_path / f"again.{form}", file.columns, file.rows())


@pytest.mark.parametrize("face_px", ["abc", "inf", "99999999999"])
def test_numbers_that_parquet_cannot_take_are_named(face_px: str, tmp_path: Path) -> None:
    file = open_scores(write_csv(tmp_path / "s.csv", face_px=[1, face_px, 2]))
    with pytest.raises(DataError, match=f"line 4: face_px '{face_px}' is not a number"):
        write_rows(tmp_path / "s.parquet", file.columns, file.rows())


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rows_written_are_the_rows_read(form: str, tmp_path: Path) -> None:
    sources = (write_csv(tmp_path / "s.csv"), write_jsonl(tmp_path / "s.jsonl"))
    for source in sources:
        file = open_scores(source)
        write_rows(tmp_path / f"again.{form}", file.columns, file.rows())
        again = open_scores(tmp_path / f"again.{form}")
        expected = open_scores(tmp_path / f"s.{form}")
        assert [row.cells for row in again.rows()] == [row.cells for row in expected.rows()]


def test_numbers_of_a_csv_are_numbers_in_json(tmp_path: Path) -> None:
    file = open_scores(write_csv(tmp_path / "s.csv", sharpness=[1.5, "", 2], note=["07", "", "n"]))
    write_rows(tmp_path / "s.jsonl", file.columns, file.rows())
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    further = [(1.5, "07"), (None, ""), (2, "n")]
    for row, result, (sharpness, note) in zip(rows, ROWS, further, strict=True):
        assert row == result.to_dict() | {"sharpness": sharpness, "note": note}


def test_a_file_may_be_replaced_by_its_own_rows(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv")
    file = open_scores(path)
    write_rows(path, file.columns, (row for row in file.rows() if row.score == 0.5))
    assert read(path) == EXPECTED[2:]
    assert [child.name for child in tmp_path.iterdir()] == ["s.csv"]


def test_a_stop_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv")
    before = path.read_bytes()
    (tmp_path / "bad.csv").write_text(HEADER + "a,0.5,ok\nb,x,ok\n")
    file = open_scores(tmp_path / "bad.csv")
    with pytest.raises(DataError, match="line 3"):
        write_rows(path, file.columns, file.rows())
    assert path.read_bytes() == before
    assert sorted(child.name for child in tmp_path.iterdir()) == ["bad.csv", "s.csv"]


def test_rows_of_two_kinds_do_not_lose_a_column_in_csv(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "s.jsonl")
    with path.open("a", encoding="utf-8") as lines:
        lines.write('{"path": "d", "score": 0.5, "status": "ok", "extra": 1}\n')
    file = open_scores(path)
    with pytest.raises(DataError, match=r"'d' has columns that the table lacks.*extra"):
        write_rows(tmp_path / "out.csv", file.columns, file.rows())


def test_rows_are_written_to_known_forms_and_existing_folders_only(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"rows are written as \.csv, \.jsonl or \.parquet, not '\.xlsx'"
    ):
        write_rows(tmp_path / "out.xlsx", COLUMNS, [])
    with pytest.raises(WriteError, match=r"no/out\.csv: cannot be written: No such file"):
        write_rows(tmp_path / "no/out.csv", COLUMNS, [])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_is_found_again(tmp_path: Path) -> None:
    raw = bytes(tmp_path) + b"/bytes\xff.png"
    Path(raw.decode("utf-8", "surrogateescape")).write_bytes(ORIGINAL.read_bytes())
    done = CliRunner().invoke(score, [str(tmp_path), "-o", str(tmp_path / "s.csv")])
    assert done.exit_code == 0, done.output
    (row,) = open_scores(tmp_path / "s.csv").rows()
    assert row.path.endswith("bytes\\xff.png")
    assert Path(file_of(row.path)).read_bytes() == ORIGINAL.read_bytes()
    (tmp_path / "bytes\\xff.png").touch()  # another photo, which rows name otherwise
    assert Path(file_of(row.path)).read_bytes() == ORIGINAL.read_bytes()


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("path,score,status,score\na.png,0.5,ok,0.6\n")
    with pytest.raises(
        DataError, match="the header, names 'score' twice; rename one, or add a header"
    ):
        open_scores(tmp_path / "s.csv")
