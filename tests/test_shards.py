"""Photos in .tar shards: scored, chosen, copied and shown like files."""

import csv
from pathlib import Path

import pytest
from conftest import ORIGINAL, RunCli, make_tar

from mspt.errors import DecodeError, MissingFileError
from mspt.inference.scorer import Scorer
from mspt.inference.shards import read_member, read_members, split_member

PHOTO = ORIGINAL.read_bytes()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_members_are_read_in_order_and_by_name(tmp_path: Path) -> None:
    shard = make_tar(tmp_path / "a.tar", {"1.png": PHOTO, "1.txt": b"x", "b/.2.png": b"y"})
    with shard.open("rb") as file:
        assert list(read_members(file)) == [("1.png", PHOTO)]
    assert split_member(f"{shard}/1.png") == (str(shard), "1.png")
    assert split_member(str(tmp_path / "no.tar/1.png")) is None
    assert read_member(str(shard), "1.png") == PHOTO
    with pytest.raises(MissingFileError, match=r"a\.tar has no member 9\.png"):
        read_member(str(shard), "9.png")
    make_tar(shard, {"1.png": b"another"})
    assert read_member(str(shard), "1.png") == b"another", "a shard that changed is opened anew"
    (tmp_path / "b.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(DecodeError, match="cannot be read"):
        read_member(str(tmp_path / "b.tar"), "1.png")


def test_a_shard_is_scored_resumed_chosen_and_shown(run_cli: RunCli, tmp_path: Path) -> None:
    shards = [
        make_tar(tmp_path / "000.tar", {"a.png": PHOTO, "a.json": b"{}", "b.png": PHOTO[:5000]}),
        make_tar(tmp_path / "001.tar", {"a.png": PHOTO, "c.png": PHOTO + b"tail"}),
    ]
    (tmp_path / "002.tar").write_bytes(shards[0].read_bytes()[: len(PHOTO) // 2])
    command = ("score", "000.tar", "001.tar", "002.tar", "--model", "fast", "-o", "s.csv")
    done = run_cli(*command)
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "s.csv")
    assert [(row["path"], row["status"]) for row in rows[:4]] == [
        ("000.tar/a.png", "ok"), ("000.tar/b.png", "unreadable"),
        ("001.tar/a.png", "ok"), ("001.tar/c.png", "ok"),
    ]  # fmt: skip
    assert float(rows[0]["score"]) == Scorer("fast").score(ORIGINAL).score
    assert rows[-1]["status"] == "unreadable"
    assert "damaged" in rows[-1]["error"]
    whole = (tmp_path / "s.csv").read_bytes()
    (tmp_path / "s.csv").write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    assert run_cli(*command, "--resume").returncode == 0
    assert (tmp_path / "s.csv").read_bytes() == whole
    best = run_cli("filter", "s.csv", "--top", "9", "--copy-to", "out")
    assert best.returncode == 0, best.stderr
    copies = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.glob("out/*/*")}
    assert copies == {
        "out/000/a.png": PHOTO, "out/001/a.png": PHOTO, "out/001/c.png": PHOTO + b"tail",
    }  # fmt: skip
    again = run_cli("filter", "s.csv", "--top", "9", "--copy-to", "out")
    assert "0 photos copied to out, 3 were there already" in again.stderr
    moved = run_cli("filter", "s.csv", "--top", "1", "--copy-to", "there", "--move")
    assert "a member of a shard cannot be moved, only copied" in moved.stderr
    page = run_cli("report", "s.csv", "-o", "r.html")
    assert "thumbnails have no picture" not in page.stderr
