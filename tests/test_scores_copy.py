"""Copies of chosen photos: whole, under names of their own, nothing overwritten, resumable."""

import errno
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner
from conftest import ORIGINAL, RunCli, make_tar

from mspt.cli.choosing import filter_
from mspt.errors import DataError, WriteError
from mspt.scores.copy import CopyReport, Names, Way, copy_photos
from mspt.scores.move import JOURNAL, Journal, restore
from mspt.scores.read import file_of
from mspt.scores.write import valid_text


def make_photos(folder: Path, *names: str) -> list[str]:
    """Write files whose bytes are their names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return [str(folder / name) for name in names]


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def copy(photos: list[str], folder: Path) -> tuple[int, int, int, int]:
    done = copy_photos(photos, folder, on_progress=lambda done, failed: None)
    return done.copied, done.present, done.renamed, len(done.failed)


def test_photos_of_one_name_get_numbers_and_a_second_run_the_same(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, "p/a.png", "q/a.png", "r/a-2.png", "s/a.png", "t/noname")
    out = tmp_path / "deep/out"
    assert copy(photos, out) == (5, 0, 3, 0)
    expected = {
        "a.png": "p/a.png",
        "a-2.png": "q/a.png",
        "a-2-2.png": "r/a-2.png",
        "a-3.png": "s/a.png",
        "noname": "t/noname",
    }
    assert contents(out) == dict(sorted(expected.items()))
    (out / "a-3.png").unlink()
    assert copy(photos, out) == (1, 4, 3, 0)
    assert contents(out) == dict(sorted(expected.items()))


def test_equal_photos_of_one_name_are_all_copied(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, "p/a.png", "q/a.png", "r/a-2.png")
    for photo in photos:
        Path(photo).write_text("the same")
    for _ in range(2):
        copy(photos, tmp_path / "out")
        names = ("a-2-2.png", "a-2.png", "a.png")
        assert contents(tmp_path / "out") == dict.fromkeys(names, "the same")


def test_a_different_file_of_that_name_is_never_overwritten(tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path, "p/a.png")
    (other,) = make_photos(tmp_path, "out/a.png")
    Path(other).write_text("p/b.png")  # as many bytes, and below the same time: only they differ
    os.utime(photo, (1, 1))
    os.utime(other, (1, 1))
    (tmp_path / "out/a-2.png").mkdir()
    assert copy([photo], tmp_path / "out") == (1, 0, 1, 0)
    assert Path(other).read_text() == "p/b.png"
    assert (tmp_path / "out/a-3.png").read_text() == "p/a.png"
    assert copy([photo], tmp_path / "out") == (0, 1, 1, 0)


def test_copying_into_the_photos_own_folder_changes_nothing(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "p", "a.png", "b.png")
    assert copy(photos, tmp_path / "p") == (0, 2, 0, 0)
    assert contents(tmp_path / "p") == {"a.png": "a.png", "b.png": "b.png"}


def test_missing_photos_are_named_and_the_rest_is_copied(tmp_path: Path) -> None:
    names = [*make_photos(tmp_path, "a.png"), *(f"gone{i}.png" for i in range(12)), str(tmp_path)]
    rows = "".join(f"{name},0.5,ok\n" for name in names)
    (tmp_path / "s.csv").write_text(f"path,score,status\n{rows}")
    arguments = [tmp_path / "s.csv", "--min-score", "0", "--copy-to", tmp_path / "out"]
    done = CliRunner().invoke(filter_, [*map(str, arguments)])
    assert done.exit_code == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[1] == f"1 photos copied to {tmp_path / 'out'}"
    assert lines[2] == "13 photos were left where they are:"
    assert lines[3] == "  gone0.png: No such file or directory"
    assert lines[-1] == "  and 3 more"
    assert contents(tmp_path / "out") == {"a.png": "a.png"}


def test_photos_that_are_all_missing_are_explained_before_anything_is_made(
    tmp_path: Path,
) -> None:
    with pytest.raises(
        DataError,
        match=r"none of 2 photos exists, such as a\.png; .*"
        r"run this in the folder where it ran",
    ):
        copy(["a.png", "b.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_no_half_copy_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos(tmp_path, "a.png", "b.png", "c.png")
    left_bytes = 8

    def copy_to_a_small_disk(source: IO[bytes], target: IO[bytes], _length: int) -> None:
        nonlocal left_bytes
        data = source.read()
        target.write(data[:left_bytes])
        left_bytes -= len(data)
        if left_bytes < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", copy_to_a_small_disk)
        message = r"b\.png: cannot be written: No space left on device; 1 photos were copied\. Run"
        with pytest.raises(WriteError, match=message):
            copy(photos, tmp_path / "out")
    assert contents(tmp_path / "out") == {"a.png": "a.png"}
    assert copy(photos, tmp_path / "out") == (2, 1, 0, 0)


def test_a_pipe_among_the_photos_is_not_waited_for(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names here")
    os.mkfifo(tmp_path / "pipe.png")
    photos = [*make_photos(tmp_path, "a.png"), str(tmp_path / "pipe.png")]
    assert copy(photos, tmp_path / "out") == (1, 0, 0, 1)


def test_many_photos_of_one_name_do_not_take_ever_longer(tmp_path: Path) -> None:
    names, started = Names(tmp_path), time.process_time()
    for number in range(10_000):
        name = names.claim(Path(f"{number}/face.png")).name
    assert name == "face-10000.png"
    assert time.process_time() - started < 10  # a quarter of a second; half a minute if it grew


def test_folders_are_kept_below_the_one_that_all_share(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "in", "p/a.png", "p/q/a.png", "b.png")
    out = tmp_path / "out"
    for expected in ((3, 0), (0, 3)):
        done = copy_photos(photos, out, on_progress=lambda *_: None, keep_tree=True)
        assert (done.copied, done.present) == expected
    found = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    assert found == {"p/a.png", "p/q/a.png", "b.png"}
    assert (out / "p/q/a.png").read_text() == "p/q/a.png"


def test_links_take_no_space_and_are_made_once(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "in", "p/a.png", "q/a.png")
    for expected in ((2, 0), (0, 2)):
        done = copy_photos(photos, tmp_path / "out", on_progress=lambda *_: None, how="link")
        assert (done.copied, done.present, done.renamed) == (*expected, 1)
    assert (tmp_path / "out/a.png").samefile(photos[0])
    assert (tmp_path / "out/a-2.png").samefile(photos[1])


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
@pytest.mark.parametrize("how", ["copy", "link", "move"])
def test_two_runs_never_put_photos_into_one_folder_at_once(tmp_path: Path, how: Way) -> None:
    photos, out = make_photos(tmp_path, "p/a.png", "p/b.png"), tmp_path / "out"
    others = make_photos(tmp_path, "q/a.png")
    refused = list[str]()

    def run_another(done: int, failed: int) -> None:
        with pytest.raises(
            WriteError, match="out: another run puts photos there, or takes"
        ) as error:
            copy_photos(others, out, on_progress=lambda done, failed: None, how=how)
        refused.append(str(error.value))
        if how == "move":
            with pytest.raises(WriteError, match="another run"):
                restore(out / JOURNAL)

    copy_photos(photos, out, on_progress=run_another, how=how)
    assert len(refused) == 2
    copy_photos(others, out, on_progress=lambda done, failed: None, how=how)
    found = contents(out)
    found.pop(JOURNAL, None)
    assert found == {"a.png": "p/a.png", "a-2.png": "q/a.png", "b.png": "p/b.png"}


def test_a_photo_that_may_not_be_taken_moves_no_other(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, "p/2024/a.png", "p/2025/b.png", "elsewhere/c.png")
    done = copy_photos(
        photos, tmp_path / "out", on_progress=lambda done, failed: None, keep_tree=True,
        within=[tmp_path / "p"],
    )  # fmt: skip
    assert [photo for photo, _ in done.failed] == photos[2:]
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in tmp_path.glob("out/*/*")) == [
        "2024/a.png", "2025/b.png",
    ]  # fmt: skip


@pytest.mark.parametrize("member", ["./a.png", "/a.png", "../b/a.png", "b/./a.png"])
def test_a_member_of_any_name_is_scored_and_copied(
    member: str, run_cli: RunCli, tmp_path: Path
) -> None:
    make_tar(tmp_path / "s.tar", {member: ORIGINAL.read_bytes()})
    assert run_cli("score", "s.tar", "-o", "s.csv", "--model", "fast").returncode == 0
    done = run_cli("filter", "s.csv", "--top", "1", "--copy-to", "out")
    assert "1 photos copied to out" in done.stdout + done.stderr
    assert [p.relative_to(tmp_path / "out") for p in tmp_path.glob("out/**/*.png")] == [
        Path("s/a.png")
    ]


def test_what_lies_in_a_table_is_named_as_such(tmp_path: Path) -> None:
    make_photos(tmp_path, "t.parquet", "a.png")
    photos = [str(tmp_path / "t.parquet/1.png"), str(tmp_path / "a.png")]
    done = copy_photos(photos, tmp_path / "out", on_progress=lambda done, failed: None)
    assert "t.parquet; of what lies in files only .tar shards" in done.failed[0][1]


@pytest.mark.skipif(os.sep != "/", reason="a backslash parts folders")
def test_bytes_and_their_escapes_are_two_photos(tmp_path: Path) -> None:
    named = [tmp_path / os.fsdecode(b"\xe9.png"), tmp_path / r"\xe9.png", tmp_path / r"\x5c.png"]
    for path in named:
        path.write_bytes(os.fsencode(path.name))
    written = [valid_text(str(path)) for path in named]
    assert len(set(written)) == 3
    assert [file_of(text) for text in written] == list(map(str, named))
    named[0].unlink()
    assert file_of(str(named[1])) == str(named[1]), "as a table by others may have it"


def test_how_to_copy_needs_a_place_to_copy_to(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("path,score,status\na.png,0.5,ok\n")
    for option in ("--tree", "--link"):
        done = CliRunner().invoke(filter_, [str(tmp_path / "s.csv"), "--top", "1", option])
        assert "add --copy-to DIR" in str(done.exception)


def test_nothing_chosen_is_copied_to_no_tree(tmp_path: Path) -> None:
    done = copy_photos([], tmp_path / "out", on_progress=lambda *_: None, keep_tree=True)
    assert done.copied == 0


# ---- moving, and back ----


def test_moved_photos_come_back(run_cli: RunCli, tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(f"photo {name[-5]}".encode())
    rows = "".join(f"{name},0.{n},ok\n" for n, name in enumerate(("a/1.png", "b/1.png", "b/2.png")))
    (tmp_path / "s.csv").write_text(f"path,score,status\n{rows}")
    done = run_cli("filter", "s.csv", "--top", "9", "--copy-to", "out", "--move")
    assert done.returncode == 0, done.stderr
    assert "3 photos moved to out, 1 numbered" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "1-2.png", "1.png", "2.png", JOURNAL,
    ]  # fmt: skip
    assert not list(tmp_path.glob("[ab]/*"))
    again = run_cli("filter", "s.csv", "--top", "9", "--copy-to", "out", "--move")
    assert "0 photos moved to out, 3 were there already" in again.stderr
    back = run_cli("restore", "out/mspt-moved.jsonl")
    assert back.returncode == 0, back.stderr
    assert "3 photos moved back" in back.stderr
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.glob("[ab]/*")) == [
        "a/1.png", "b/1.png", "b/2.png",
    ]  # fmt: skip
    assert (tmp_path / "a/1.png").read_bytes() == b"photo 1"
    assert not list((tmp_path / "out").iterdir())


def test_a_move_that_was_stopped_goes_on_and_can_be_undone(tmp_path: Path) -> None:
    photos = [tmp_path / f"{n}.png" for n in range(3)]
    for photo in photos:
        photo.write_bytes(photo.name.encode())
    out = tmp_path / "out"
    out.mkdir()
    Journal(out).move(photos[0], out / "0.png")
    with (out / JOURNAL).open("a") as file:  # written down, and killed before it was done
        file.write(json.dumps({"from": str(photos[1]), "to": str(out / "1.png")}) + "\n")
    names = list(map(str, photos))
    done = copy_photos(names, out, on_progress=lambda *_: None, how="move")
    assert (done.copied, done.present, done.failed) == (2, 1, [])
    photos[2].write_bytes(b"another photo of this name")
    report = restore(out / JOURNAL)
    assert report.restored == 2
    assert report.failed == [(str(out / "2.png"), f"{photos[2]} exists again")]
    assert (out / JOURNAL).exists(), "one photo is still there"
    photos[2].unlink()
    assert restore(out / JOURNAL).restored == 1
    assert [photo.read_bytes() for photo in photos] == [b"0.png", b"1.png", b"2.png"]
    assert not (out / JOURNAL).exists()


def move(photos: Sequence[Path], out: Path) -> CopyReport:
    return copy_photos(list(map(str, photos)), out, on_progress=lambda *_: None, how="move")


def test_a_photo_that_cannot_leave_its_disk_is_named_and_not_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "card").mkdir()
    stuck, free = tmp_path / "card/stuck.png", tmp_path / "free.png"
    stuck.write_bytes(b"1")
    free.write_bytes(b"2")
    unlink = Path.unlink

    def another_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def read_only(path: Path, missing_ok: bool = False) -> None:
        if path == stuck:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlink(path, missing_ok)

    rename = Path.rename
    monkeypatch.setattr(Path, "unlink", read_only)
    for expected in (1, 0):
        monkeypatch.setattr(Path, "rename", another_disk)
        done = move([stuck, free], tmp_path / "out")
        assert (done.copied, done.failed) == (
            expected,
            [(str(stuck), "cannot leave its folder: Read-only file system")],
        )
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["free.png", JOURNAL]
    assert (tmp_path / "out/free.png").read_bytes() == b"2"
    monkeypatch.setattr(Path, "rename", rename)
    assert restore(tmp_path / "out" / JOURNAL).restored == 1


def test_a_moved_link_leads_where_it_led(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "album").mkdir()
    (tmp_path / "raw/a.png").write_bytes(b"photo")
    link = tmp_path / "album/a.png"
    link.symlink_to("../raw/a.png")
    assert move([link], tmp_path / "out/deep").copied == 1
    assert (tmp_path / "out/deep/a.png").read_bytes() == b"photo"
    assert not link.is_symlink()
    assert restore(tmp_path / "out/deep" / JOURNAL).restored == 1
    assert os.readlink(link) == "../raw/a.png"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks Linux what is open")
@pytest.mark.parametrize("how", ["move", "link"])
def test_a_photo_is_not_open_while_it_is_moved_or_linked(
    how: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses both while a file is open."""
    photo = tmp_path / "a.png"
    photo.write_bytes(b"photo")
    for name in ("rename", "replace"):
        original = getattr(Path, name)

        def checked(path: Path, target: Path, original=original) -> Path:
            opened = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
            assert str(photo) not in opened
            return original(path, target)

        monkeypatch.setattr(Path, name, checked)
    done = copy_photos([str(photo)], tmp_path / "out", on_progress=lambda *_: None, how=how)
    assert (done.copied, done.failed) == (1, [])


def test_photos_moved_to_where_they_lie_stay(tmp_path: Path) -> None:
    photo = tmp_path / "album/a.png"
    photo.parent.mkdir()
    photo.write_bytes(b"photo")
    done = move([photo], tmp_path / "album")
    assert (done.copied, done.present, done.renamed) == (0, 1, 0)
    assert [p.name for p in photo.parent.iterdir()] == ["a.png"]


def test_a_move_that_was_stopped_between_copy_and_original_can_be_undone(tmp_path: Path) -> None:
    photo, out = tmp_path / "a.png", tmp_path / "out"
    photo.write_bytes(b"photo")
    move([photo], out)
    shutil.copy(out / "a.png", photo)  # as if its original had not been taken away yet
    assert restore(out / JOURNAL).restored == 1
    assert photo.read_bytes() == b"photo"
    assert not list(out.iterdir())


@pytest.mark.parametrize("names", ["5, 6", '"a\\u0000", "b"', '"a", ["b"]'])
def test_a_journal_of_no_names_is_refused(names: str, tmp_path: Path) -> None:
    source, target = names.split(", ")
    (tmp_path / JOURNAL).write_text(f'{{"from": {source}, "to": {target}}}\n')
    with pytest.raises(DataError, match="is no journal of moved photos"):
        restore(tmp_path / JOURNAL)


def test_half_a_line_of_the_journal_stops_no_later_move(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"from": "/x/p.jp')
    (tmp_path / "1.png").write_bytes(b"1")
    Journal(tmp_path).move(tmp_path / "1.png", tmp_path / "moved/1.png")
    assert restore(tmp_path / JOURNAL).restored == 1
    assert (tmp_path / "1.png").read_bytes() == b"1"


def test_a_strangers_journal_puts_no_file_elsewhere(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given/payload").write_bytes(b"x")
    entry = {"from": str(tmp_path / "home/x"), "to": str(tmp_path / "given/payload")}
    (tmp_path / "given" / JOURNAL).write_text(f"{json.dumps(entry)}\n")
    (tmp_path / "work").mkdir()
    done = run_cli("restore", tmp_path / "given" / JOURNAL, cwd=tmp_path / "work")
    assert done.returncode == 1
    assert "home/x lies outside; --within DIR allows a folder" in done.stderr
    assert not (tmp_path / "home").exists()
    within = ("--within", tmp_path / "home")
    assert run_cli("restore", tmp_path / "given" / JOURNAL, *within).returncode == 0
    assert (tmp_path / "home/x").read_bytes() == b"x"


def test_what_is_no_journal_is_refused(run_cli: RunCli, tmp_path: Path) -> None:
    assert "no such journal; `mspt filter --move`" in run_cli("restore", "gone.jsonl").stderr
    (tmp_path / "other.jsonl").write_text('{"path": "a"}\n')
    done = run_cli("restore", "other.jsonl")
    assert done.returncode == 2
    assert "line 1: is no journal of moved photos" in done.stderr


# ---- a scores file from elsewhere ----


def test_photos_elsewhere_are_left_unless_their_folder_is_named(
    run_cli: RunCli, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for folder in (elsewhere, tmp_path):
        (folder / f"{folder.name}.png").write_bytes(ORIGINAL.read_bytes())
    secret, mine = elsewhere / f"{elsewhere.name}.png", tmp_path / f"{tmp_path.name}.png"
    climbing = f"x/../../{elsewhere.name}/{secret.name}"
    rows = "".join(f"{path},0.5,ok\n" for path in (secret, mine, climbing))
    (tmp_path / "s.csv").write_text(f"path,score,status\n{rows}")
    done = run_cli("filter", "s.csv", "--top", "3", "--copy-to", "out")
    assert done.returncode == 1
    assert f"{secret}: lies outside; --within DIR allows a folder" in done.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == [mine.name]
    page = run_cli("report", "s.csv", "-o", "r.html")
    assert "2 photos were not opened, as they lie elsewhere than SCORES; to show" in page.stderr
    assert f"--within {elsewhere}" in page.stderr
    links = re.findall(r'href="([^"]*)"', (tmp_path / "r.html").read_text())
    assert set(links) - {"data:,"} == {mine.name}
    named = run_cli("filter", "s.csv", "--top", "3", "--copy-to", "out", "--within", elsewhere)
    assert named.returncode in (0, 1)
    assert (tmp_path / "out" / secret.name).is_file()
