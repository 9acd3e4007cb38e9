"""Photos in .tar shards: scored, chosen, copied and shown like files."""

import csv
import io
import tarfile
from pathlib import Path

import pytest
from conftest import ORIGINAL, RunCli, make_tar

from mspt.errors import DecodeError, MissingFileError
from mspt.inference.inputs import split_member
from mspt.inference.scorer import Scorer
from mspt.inference.shards import read_member, read_members

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


def test_members_are_scored_by_their_names(run_cli: RunCli, tmp_path: Path) -> None:
    make_tar(tmp_path / "s.tar", {"a.png": PHOTO, "deep/b.png": PHOTO, "c.png": b"none"})
    run_cli("score", "s.tar", "-o", "all.csv", "--model", "fast")
    names = ["s.tar/deep/b.png", "s.tar/c.png", "s.tar/x.png"]
    (tmp_path / "list.txt").write_text("\n".join(names))
    command = ("score", "--from", "list.txt", "-o", "s.csv", "--model", "fast")
    assert run_cli(*command).returncode == 0
    whole = (tmp_path / "s.csv").read_bytes()
    rows = {row["path"]: row for row in rows_of(tmp_path / "s.csv")}
    assert list(rows) == names
    assert rows["s.tar/deep/b.png"]["score"] == rows_of(tmp_path / "all.csv")[1]["score"]
    assert "has no member x.png" in rows["s.tar/x.png"]["error"]
    assert run_cli(*command, "--resume").returncode == 0
    assert (tmp_path / "s.csv").read_bytes() == whole, "its photos are the members, not the shard"
    assert (
        Scorer("fast").score(f"{tmp_path}/s.tar/a.png").score == Scorer("fast").score(PHOTO).score
    )


def test_a_torn_shard_gives_what_comes_before_its_end(tmp_path: Path) -> None:
    whole = make_tar(tmp_path / "s.tar", {"a.png": PHOTO, "b.png": PHOTO}).read_bytes()
    torn = tmp_path / "torn.tar"
    torn.write_bytes(whole[: 512 + len(PHOTO) + 2000])
    assert read_member(str(torn), "a.png") == PHOTO
    with pytest.raises(DecodeError, match=r"torn\.tar ends early"):
        read_member(str(torn), "b.png")


def test_a_tree_of_shards_keeps_their_folders_and_those_inside(
    run_cli: RunCli, tmp_path: Path
) -> None:
    for folder in ("x", "y"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        members = {"deep/a.png": PHOTO, "../../b.png": PHOTO + b"tail"}
        make_tar(tmp_path / "in" / folder / "s.tar", members)
    run_cli("score", "in", "-o", "s.csv", "--model", "fast")
    done = run_cli("filter", "s.csv", "--top", "9", "--copy-to", "out", "--tree")
    assert done.returncode == 0, done.stderr
    copies = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png"))
    assert copies == ["out/x/s/b.png", "out/x/s/deep/a.png", "out/y/s/b.png", "out/y/s/deep/a.png"]


def test_a_tree_of_a_shard_that_lies_here(run_cli: RunCli, tmp_path: Path) -> None:
    make_tar(tmp_path / "s.tar", {"./deep/a.png": PHOTO})
    run_cli("score", "s.tar", "-o", "s.csv", "--model", "fast")
    done = run_cli("filter", "s.csv", "--top", "9", "--copy-to", "out", "--tree")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/s/deep/a.png").read_bytes() == PHOTO


def test_names_in_a_shard_may_begin_with_a_dot(tmp_path: Path) -> None:
    shard = make_tar(tmp_path / "s.tar", {"./a.png": PHOTO})
    assert read_member(str(shard), "a.png") == read_member(str(shard), "./a.png") == PHOTO


@pytest.mark.parametrize("kept", range(6))
def test_a_shard_with_two_members_of_one_name_is_resumed(
    kept: int, run_cli: RunCli, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("1.png", "2.png", "1.png", "3.png"):
            info = tarfile.TarInfo(name)
            info.size = len(PHOTO)
            tar.addfile(info, io.BytesIO(PHOTO))
    (tmp_path / "p.png").write_bytes(PHOTO)
    command = ("score", "s.tar", "p.png", "-o", "s.csv", "--model", "fast")
    run_cli(*command)
    whole = (tmp_path / "s.csv").read_bytes()
    (tmp_path / "s.csv").write_bytes(b"".join(whole.splitlines(keepends=True)[: kept + 1]))
    done = run_cli(*command, "--resume")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "s.csv").read_bytes() == whole


def test_rows_of_some_members_do_not_pass_for_a_shard(run_cli: RunCli, tmp_path: Path) -> None:
    make_tar(tmp_path / "s.tar", dict.fromkeys(("1.png", "2.png"), PHOTO))
    (tmp_path / "p.png").write_bytes(PHOTO)
    options = ("-o", "s.csv", "--model", "fast")
    run_cli("score", "s.tar/1.png", "p.png", *options)
    before = (tmp_path / "s.csv").read_bytes()
    done = run_cli("score", "s.tar", "p.png", *options, "--resume")
    assert done.returncode == 2
    assert "has rows of some members of s.tar, such as s.tar/1.png, and" in done.stderr
    both = run_cli("score", "s.tar", "s.tar/2.png", *options, "--resume")
    assert both.returncode == 2
    assert "s.tar/2.png lies in s.tar, which is listed, too" in both.stderr
    assert (tmp_path / "s.csv").read_bytes() == before


def test_members_are_evaluated(run_cli: RunCli, tmp_path: Path) -> None:
    make_tar(tmp_path / "s.tar", dict.fromkeys(("1.png", "2.png", "3.png"), PHOTO))
    (tmp_path / "m.csv").write_text("path,mos\ns.tar/1.png,.2\ns.tar/2.png,.4\ns.tar/3.png,.6\n")
    done = run_cli("evaluate", "m.csv", "--model", "fast")
    assert done.returncode == 0, done.stderr
