"""Scoring on Ray: the rows of `mspt score`, whatever dies on the way."""

import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import FACES, ORIGINAL, RunCli, encode, make_tar
from PIL import Image

from mspt.cluster.job import _Actor as Actor
from mspt.cluster.job import _open_output as open_output
from mspt.cluster.parts import SHARD_COLUMN, Work, score_part
from mspt.cluster.plan import Part, _Below, make_plan
from mspt.cluster.storage import Place, address_below
from mspt.errors import ClusterError, ConfigError, DataError, WriteError
from mspt.inference.scorer import Scorer
from mspt.results import COLUMNS

ray = pytest.importorskip("ray")
MSPT = Path(sys.executable).with_name("mspt")
FILES = sorted(str(path) for path in FACES.iterdir())


# ---- which photos belong to which part ----


def test_photos_shards_and_tables_become_parts_in_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "c.png", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"x")
    make_tar(tmp_path / "d.tar", {})
    pq.write_table(pa.table({"path": ["1.jpg", "2.jpg", "3.jpg"]}), tmp_path / "e.parquet")
    plan = make_plan([str(tmp_path)], part_photos=2)
    at = str(tmp_path)
    assert plan.parts == [
        Part(kind="files", names=(f"{at}/a.jpg", f"{at}/b.jpg")),
        Part(kind="files", names=(f"{at}/c.png",)),
        Part(kind="tar", source=f"{at}/d.tar"),
        Part(kind="table", source=f"{at}/e.parquet", column="path", first=0, count=2),
        Part(kind="table", source=f"{at}/e.parquet", column="path", first=2, count=1),
    ]
    assert plan.passed_over == {".txt": 1}
    assert plan.digest() == make_plan([str(tmp_path)], part_photos=2).digest()
    assert plan.digest() != make_plan([str(tmp_path)], part_photos=3).digest()


def test_what_cannot_be_planned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: there is no such file"):
        make_plan([str(tmp_path / "gone")])
    with pytest.raises(DataError, match="foo://x"):
        make_plan(["foo://x"])
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match="no Parquet table that can be read"):
        make_plan([str(tmp_path / "a.parquet")])
    pq.write_table(pa.table({"odd": [1]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="no column that is known .* it has odd; --column"):
        make_plan([str(tmp_path / "b.parquet")])
    with pytest.raises(DataError, match="no column 'no'; it has odd"):
        make_plan([str(tmp_path / "b.parquet")], column="no")
    with pytest.raises(ConfigError, match="part_photos 0 must be at least 1"):
        make_plan([str(tmp_path)], part_photos=0)
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"found at .*, but for what lies in .*, where rows go"):
        make_plan([str(tmp_path / "a.jpg")], output=str(tmp_path))


@pytest.mark.parametrize("typed", ["{}", "{}/**", "{}/**/*.parquet", "{}-link", "file://{}"])
def test_rows_written_below_an_input_are_no_input_at_the_restart(
    tmp_path: Path, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    for name in ("scores", "scores of others"):
        (photos / name).mkdir(parents=True)
    pq.write_table(pa.table({"path": ["1.jpg"]}), photos / "scores of others/a.parquet")
    (tmp_path / "photos-link").symlink_to(photos)
    (tmp_path / "elsewhere").symlink_to(photos / "scores")
    monkeypatch.chdir(tmp_path)
    before = make_plan([typed.format(photos)], output="photos/scores")
    pq.write_table(pa.table({"path": ["1.jpg"]}), photos / "scores/part-0000000.parquet")
    for output in ("photos/scores", "elsewhere", f"file://{photos}/scores"):
        assert make_plan([typed.format(photos)], output=output).parts == before.parts
    assert len(make_plan([typed.format(photos)]).parts) == 2


ODD_NAMES = ["a b.png", "ü.png", "[x].png", "100%.png", "a#b.png", "a?b.png", "a%20b.png"]


def test_names_in_a_remote_folder_may_hold_any_character(scorer: Scorer, tmp_path: Path) -> None:
    for name in ODD_NAMES:
        shutil.copy(ORIGINAL, tmp_path / name)
    (part,) = make_plan([f"file://{tmp_path}"]).parts
    rows = score_it(scorer, part, tmp_path)
    assert {row["status"] for row in rows} == {"ok"}
    named = [str(row["path"]).removeprefix(f"file://{tmp_path}/") for row in rows]
    assert sorted(map(unquote, named)) == sorted(ODD_NAMES)
    assert {"a b.png", "ü.png", "[x].png", "a#b.png", "100%25.png"} <= set(named), (
        "as little is escaped as can be"
    )
    assert make_plan([], listed=[str(row["path"]) for row in rows]).parts == [part]


def test_an_address_that_cannot_be_read_is_a_row(scorer: Scorer, tmp_path: Path) -> None:
    rows = score_it(
        scorer, Part(kind="files", names=("https://x.org/a.png", str(ORIGINAL))), tmp_path
    )
    assert [row["status"] for row in rows] == ["unreadable", "ok"]
    assert "https" in str(rows[0]["error"])


def test_options_of_an_address_stay_at_its_end() -> None:
    assert address_below("s3://b/in/?region=x", "c/a?.jpg") == "s3://b/in/c/a%3F.jpg?region=x"
    assert Place.of("s3://b/a b.jpg?region=eu-west-1").path == "b/a b.jpg"
    assert Place.of("s3://b/a#b.jpg?region=eu-west-1").path == "b/a#b.jpg"


def test_an_output_is_known_by_any_spelling_of_its_address() -> None:
    is_output = _Below("gs://b/my%20rows?project=x")
    assert is_output("gs://b/my rows/part-0000000.parquet")
    assert not is_output("gs://b/my rows of old/part-0000000.parquet")


@pytest.mark.parametrize("name", ["file:///%zz.jpg", "a\0/b.jpg", "://", "x" * 5000])
def test_a_name_that_no_file_can_have_does_not_end_the_plan(name: str, tmp_path: Path) -> None:
    plan = make_plan([], listed=[name], output=str(tmp_path / "rows"))
    assert plan.parts == [Part(kind="files", names=(name,))]


# ---- one part ----


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer("fast")


WORK: dict[str, Any] = {"factors": False, "faces": None, "threads": 2}


def score_it(scorer: Scorer, part: Part, folder: Path) -> list[dict[str, object]]:
    work = Work(**WORK, base=str(folder), output=str(folder))
    count = score_part(scorer, part, 3, work)
    table = pq.read_table(folder / "part-0000003.parquet")
    assert tuple(table.column_names) == (*COLUMNS, SHARD_COLUMN)
    rows = table.to_pylist()
    assert count.rows == len(rows)
    assert count.failed == sum(row["status"] != "ok" for row in rows)
    assert not list(folder.glob(".mspt-*")), "no draft is left"
    return rows


def test_members_of_a_shard_are_photos_and_the_rest_is_not(scorer: Scorer, tmp_path: Path) -> None:
    photo = ORIGINAL.read_bytes()
    members = {
        "0001.png": photo, "0001.txt": b"a face", "0001.json": b"{}", "0002.png": photo[:4000],
        "sub/.0003.png": photo, "sub/0004.jpg": encode(Image.open(ORIGINAL), "JPEG", quality=90),
    }  # fmt: skip
    make_tar(tmp_path / "s.tar", members)
    rows = score_it(scorer, Part(kind="tar", source="s.tar"), tmp_path)
    assert [(row["path"], row["status"]) for row in rows] == [
        ("s.tar/0001.png", "ok"), ("s.tar/0002.png", "unreadable"), ("s.tar/sub/0004.jpg", "ok"),
    ]  # fmt: skip
    assert {row[SHARD_COLUMN] for row in rows} == {"s.tar"}
    assert rows[0]["score"] == scorer.score(ORIGINAL).score


def test_a_shard_that_is_cut_off_keeps_what_it_has_and_says_so(
    scorer: Scorer, tmp_path: Path
) -> None:
    make_tar(tmp_path / "s.tar", dict.fromkeys(("1.png", "2.png"), ORIGINAL.read_bytes()))
    whole = (tmp_path / "s.tar").read_bytes()
    (tmp_path / "s.tar").write_bytes(whole[: len(ORIGINAL.read_bytes()) + 3000])
    rows = score_it(scorer, Part(kind="tar", source="s.tar"), tmp_path)
    assert (rows[0]["path"], rows[0]["status"]) == ("s.tar/1.png", "ok")
    assert rows[-1]["status"] == "unreadable"
    assert "the shard ends early" in str(rows[-1]["error"])


@pytest.mark.parametrize("is_pair", [False, True])
def test_a_table_may_hold_encoded_images(scorer: Scorer, tmp_path: Path, is_pair: bool) -> None:
    data = [path.read_bytes() for path in sorted(FACES.iterdir())[:4]]
    cells: list[object] = [*data, None]
    if is_pair:  # as `datasets` writes them
        cells = [{"bytes": d, "path": "same.png"} for d in data] + [None]
    pq.write_table(pa.table({"image": cells}), tmp_path / "t.parquet", row_group_size=2)
    part = Part(kind="table", source="t.parquet", column="image", first=1, count=4)
    rows = score_it(scorer, part, tmp_path)
    expected = [scorer.score(d).score for d in data[1:]]
    assert [row["score"] for row in rows] == [*expected, None]
    assert rows[0]["path"] == ("t.parquet#1/same.png" if is_pair else "t.parquet#1")
    assert "holds no encoded image" in str(rows[-1]["error"])


def test_a_table_that_is_damaged_stops_the_part_and_is_named(
    scorer: Scorer, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"image": [b"x"] * 4}), tmp_path / "t.parquet")
    part = Part(kind="table", source="t.parquet", column="image", first=0, count=4)
    batch = {"number": [0], "part": [json.dumps(asdict(part))]}
    (tmp_path / "t.parquet").write_bytes(b"PAR1, no more")
    work = Work(**WORK, base=str(tmp_path), output=str(tmp_path))
    done = Actor(scorer, work)(batch)
    assert done["error"][0].startswith("t.parquet: Parquet magic bytes not found")
    assert not list(tmp_path.glob("part-*"))


@pytest.mark.parametrize("is_category", [False, True])
def test_a_table_may_hold_paths(scorer: Scorer, tmp_path: Path, is_category: bool) -> None:
    paths = pa.array([*FILES[:3], None, "gone.jpg"])
    paths = paths.dictionary_encode() if is_category else paths
    pq.write_table(pa.table({"path": paths}), tmp_path / "t.parquet")
    part = Part(kind="table", source="t.parquet", column="path", first=1, count=4)
    rows = score_it(scorer, part, tmp_path)
    assert [row["path"] for row in rows] == [*FILES[1:3], "t.parquet#3", "gone.jpg"]
    assert [row["status"] for row in rows] == ["ok", "ok", "unreadable", "unreadable"]


@pytest.mark.parametrize(
    ("column", "cells", "kind"),
    [
        ("image", [1, 2], "int64"),
        ("bytes", [[1.0]], "list<element: double>"),
        ("jpg", [{"path": "a.jpg"}], "struct<path: string>"),
    ],
)
def test_a_column_of_neither_paths_nor_images_is_refused_before_the_job(
    column: str, cells: list[object], kind: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table({column: cells}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=f"column '{column}' holds {kind}, neither paths nor"):
        make_plan([str(tmp_path / "t.parquet")])


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    place = Place.of(str(tmp_path)).below("part")
    place.write(b"whole")
    assert place.read(10) == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match="folder: cannot be written"):
        Place.of(str(tmp_path)).below("folder").write(b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "part"]


# ---- jobs ----


def read_rows(folder: Path) -> list[dict[str, object]]:
    return [
        {k: v for k, v in row.items() if k != SHARD_COLUMN}
        for path in sorted(folder.glob("part-*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of good and broken photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(24):
        data = Path(FILES[number % len(FILES)]).read_bytes()
        (folder / f"{number:02d}.png").write_bytes(data[:3000] if number % 7 == 3 else data)
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.mark.slow
def test_a_job_gives_the_rows_of_mspt_score_and_goes_on_where_it_stopped(
    run_cli: RunCli, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("cluster", "score", photos, out, "--part", "5", "--model", "fast")
    done = run_cli(*command)
    assert done.returncode == 0, done.stderr
    assert "5 parts; 24 rows now" in done.stdout
    assert "1 other files passed over (1 .txt)" in done.stderr
    assert "3 of 24 rows are not ok" in done.stderr
    run_cli("score", photos, "--model", "fast", "-o", tmp_path / "s.parquet")
    whole = read_rows(out)
    assert whole == pq.read_table(tmp_path / "s.parquet").to_pylist()
    (out / "part-0000002.parquet").unlink()
    kept = (out / "part-0000001.parquet").stat().st_mtime_ns
    for name in ("of-a-killed-run", "of-one-that-writes"):
        (out / f".mspt-draft-{name}").write_bytes(b"half")
    os.utime(out / ".mspt-draft-of-a-killed-run", (0, 0))
    again = run_cli(*command)
    assert "5 parts, 4 of them there before; 5 rows now" in again.stdout
    assert read_rows(out) == whole
    assert pq.read_table(out).num_rows == 24, "the plan is in no reader's way"
    assert (out / "part-0000001.parquet").stat().st_mtime_ns == kept
    assert [p.name for p in out.glob(".mspt-draft-*")] == [".mspt-draft-of-one-that-writes"]
    other = run_cli(*command, "--factors")
    assert other.returncode == 2
    assert "was begun with other factors (False, now True)" in other.stderr
    fewer = run_cli(*command, "--max-megapixels", "20")
    assert "was begun with other max_pixels (" in fewer.stderr
    (photos / "new.png").write_bytes(b"")
    assert "was begun with other" in run_cli(*command).stderr


def test_a_folder_with_other_files_is_refused(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = run_cli("cluster", "score", FACES, tmp_path)
    assert done.returncode == 2
    assert "holds other files, such as mine.txt, and no _plan.json" in done.stderr


def test_relative_paths_mean_the_folder_that_the_job_was_begun_in(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = str(tmp_path / "out")
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        shutil.copy(ORIGINAL, tmp_path / name / "a.png")
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "out").mkdir()
    plan = make_plan(["a.png"])
    done = open_output(Work(**WORK, base=os.getcwd(), output=output), plan, scorer)
    assert not done
    with pytest.raises(
        ConfigError, match="begun with other folder of relative paths .*here.*there"
    ):
        open_output(Work(**WORK, base=str(tmp_path / "there"), output=output), plan, scorer)
    assert not make_plan([str(ORIGINAL)]).has_relative_paths()


def test_a_part_without_a_byte_is_not_done(scorer: Scorer, tmp_path: Path) -> None:
    plan = make_plan([], listed=FILES[:3], part_photos=1)
    work = Work(**WORK, base=str(tmp_path), output=str(tmp_path / "out"))
    assert not open_output(work, plan, scorer)
    (tmp_path / "out/part-0000000.parquet").write_bytes(b"")
    (tmp_path / "out/part-0000001.parquet").write_bytes(b"rows")
    assert open_output(work, plan, scorer) == {"part-0000001.parquet"}


@pytest.mark.parametrize("text", ["", "[]", '{"format": '])
def test_a_plan_that_is_none_is_named(scorer: Scorer, tmp_path: Path, text: str) -> None:
    plan = make_plan([], listed=FILES[:3])
    (tmp_path / "_plan.json").write_text(text)
    with pytest.raises(ConfigError, match=r"_plan\.json: is no plan of a job"):
        open_output(Work(**WORK, base="/", output=str(tmp_path)), plan, scorer)


def test_other_photos_are_told_without_their_digests(scorer: Scorer, tmp_path: Path) -> None:
    work = Work(**WORK, base="/", output=str(tmp_path))
    open_output(work, make_plan([], listed=FILES[:3]), scorer)
    with pytest.raises(ConfigError, match="was begun with other photos and parts; give the inputs"):
        open_output(work, make_plan([], listed=FILES[1:4]), scorer)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_named_at_once(
    run_cli: RunCli, tmp_path: Path, scheme: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{unused.getsockname()[1]}"
        begun = time.monotonic()
        done = run_cli("cluster", "score", FACES, tmp_path / "out", "--address", address)
    assert done.returncode == 2
    assert f"{address}: no cluster can be reached there" in done.stderr
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize("name", ["actors", "cpus"])
def test_numbers_below_one_are_refused(scorer: Scorer, tmp_path: Path, name: str) -> None:
    from mspt.cluster import job

    with pytest.raises(ConfigError, match=f"{name} 0 must be at least 1"):
        job.run(make_plan([], listed=FILES), str(tmp_path), scorer, **{name: 0})
    with pytest.raises(TypeError, match="inputs takes several paths"):
        make_plan("photos")


@pytest.mark.slow
def test_what_goes_wrong_in_an_actor_is_said_in_a_line(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "out/part-0000000.parquet").mkdir(parents=True)  # where rows cannot go
    done = run_cli("cluster", "score", FACES, tmp_path / "out", "--model", "fast")
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"error: {tmp_path}/out/part-0000000.parquet: cannot be written")
    assert said.endswith("The parts that are done are kept: mend that and start the job again")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray's open files, and what it calls
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_shard_that_is_gone_stops_the_job_and_is_named(tmp_path: Path) -> None:
    from mspt.cluster import job

    make_tar(tmp_path / "s.tar", {"1.png": ORIGINAL.read_bytes()})
    plan = make_plan([str(tmp_path / "s.tar")])
    (tmp_path / "s.tar").unlink()
    with pytest.raises(ClusterError, match=r"s\.tar.*that are done are kept"):
        job.run(plan, str(tmp_path / "out"), Scorer("fast"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_plan.json"]


def test_inputs_must_be_named(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("cluster", "score", tmp_path / "out")
    assert done.returncode == 2
    assert "nothing to score: give INPUTS before OUTPUT, or --from LIST" in done.stderr


@pytest.mark.slow
def test_more_actors_than_there_are_cores_are_refused(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("cluster", "score", FACES, tmp_path / "out", "--actors", "999")
    assert done.returncode == 2
    assert "999 actors of 1 cores need 999, but there are" in done.stderr


@pytest.mark.slow
def test_killed_at_random_moments_a_job_loses_and_doubles_nothing(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [MSPT, "cluster", "score", photos, out, "--part", "1", "--model", "fast"]
    rng, kills = random.Random(0), 0
    for _ in range(20):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        wait_for_parts(process, out, len(list(out.glob("part-*"))) + rng.randint(1, 6))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)  # the driver, and all of Ray below it
        process.wait()
        kills += 1
    assert process.returncode == 0
    assert kills >= 3
    names = [row["path"] for row in read_rows(out)]
    assert names == sorted(str(path) for path in photos.glob("*.png"))


def wait_for_parts(process: "subprocess.Popen[bytes]", out: Path, count: int) -> None:
    while process.poll() is None and len(list(out.glob("part-*"))) < count:
        time.sleep(0.05)


@pytest.fixture
def two_nodes() -> Iterator[object]:
    """Run a cluster of two nodes on this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ray's open files
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_actor_and_a_node_that_die_are_replaced(
    two_nodes: object, photos: Path, tmp_path: Path
) -> None:
    out, nodes = tmp_path / "out", two_nodes
    address = nodes.address  # type: ignore[attr-defined]
    command = [MSPT, "cluster", "score", photos, out, "--part", "1", "--model", "fast"]
    process = subprocess.Popen([*command, "--address", address], stdout=subprocess.DEVNULL)
    wait_for_parts(process, out, 2)
    actors = [pid for pid in actor_processes() if pid]
    assert actors
    os.kill(actors[0], signal.SIGKILL)
    wait_for_parts(process, out, 6)
    nodes.remove_node(nodes.list_all_nodes()[-1], allow_graceful=False)  # type: ignore[attr-defined]
    assert process.wait(timeout=300) == 0
    names = [row["path"] for row in read_rows(out)]
    assert names == sorted(str(path) for path in photos.glob("*.png"))


def actor_processes() -> list[int]:
    """Return the processes that score."""
    import psutil

    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any("MapWorker" in word for word in process.info["cmdline"] or ())
    ]


@pytest.mark.slow
def test_photos_and_rows_may_lie_on_s3(
    run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    options = f"?endpoint_override=http://{host}:{port}&allow_bucket_creation=true"
    bucket = Place.of(f"s3://faces{options}")
    bucket.make()
    for path in FILES[:4]:
        bucket.below(f"in/{Path(path).name}").write(Path(path).read_bytes())
    bucket.below("in/broken.png").write(b"broken")
    try:
        done = run_cli("cluster", "score", "s3://faces/in", "s3://faces/out", "--model", "fast")
        assert done.returncode == 0, done.stderr
        assert "1 parts; 5 rows now" in done.stdout
        data = bucket.below("out/part-0000000.parquet").read(2**20)
    finally:
        server.stop()
    rows = {row["path"]: row for row in pq.read_table(io.BytesIO(data)).to_pylist()}
    scorer = Scorer("fast")
    for path in FILES[:4]:
        row = rows.pop(f"s3://faces/in/{Path(path).name}")
        assert row["score"] == scorer.score(path).score
    assert rows["s3://faces/in/broken.png"]["status"] == "unreadable"
