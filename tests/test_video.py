"""Videos: frames at regular times, rows in order, the best frames kept."""

import csv
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import FACES, ORIGINAL, RunCli
from PIL import Image, ImageFilter

from mspt.arrays import RGB
from mspt.errors import ConfigError, DecodeError
from mspt.image.decode import read_rgb
from mspt.inference import video
from mspt.inference.scorer import Scorer
from mspt.inference.video import (
    BestShots,
    Shot,
    count_shots,
    open_shots,
    parse_interval,
    score_shots,
)
from mspt.inference.video_whole import Clock
from mspt.results import QualityScore

SHARPEST = 23  # the frame in focus


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("video") / "my clip.mp4")


def make_clip(path: Path) -> Path:
    """Four seconds, ten frames a second, that come into focus and go out of it."""
    import av

    face = Image.open(ORIGINAL).convert("RGB")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 320
        stream.pix_fmt = "yuv420p"
        for number in range(40):
            image = face.filter(ImageFilter.GaussianBlur(abs(number - SHARPEST) / 1.5))
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("text", "seconds"), [("0.5s", 0.5), ("500ms", 0.5), ("2", 2), (".1s", 0.1), (" 1s ", 1)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_interval(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "-1s", "soon", "1m", "nan", "1s2"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--every must be a time above 0, such as 0.5s"):
        parse_interval(text)


@pytest.mark.parametrize(
    ("every_s", "times"),
    [
        (1, [0, 1, 2, 3]),
        (0.25, [0, 0.3, 0.5, 0.8, 1, 1.3, 1.5, 1.8, 2, 2.3, 2.5, 2.8, 3, 3.3, 3.5, 3.8]),
        (100, [0]),
    ],
)
def test_frames_come_at_or_after_each_time(every_s: float, times: list[float], clip: Path) -> None:
    shots = list(open_shots([str(clip)], every_s))
    assert [shot.name for shot in shots] == [f"{clip}#t={t:.3f}" for t in times]
    assert all(shot.image.shape == (320, 320, 3) for shot in shots)
    assert count_shots([str(clip)], every_s) == len(times)


def test_a_frame_shows_what_the_video_shows_then(clip: Path) -> None:
    (_, _, _, _, shot, *_) = open_shots([str(clip)], 0.575)  # the fifth: 2.3 s, the one in focus
    assert shot.name.endswith("#t=2.300")
    difference = np.abs(shot.image.astype(int) - read_rgb(ORIGINAL)).mean()
    assert difference < 8


def test_rows_keep_the_order_of_photos_frames_and_failures(
    scorer: Scorer, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_bytes(clip.read_bytes()[:3000])
    (tmp_path / "text.mov").write_text("no video")
    paths = [
        str(tmp_path / "broken.mp4"), str(ORIGINAL), str(clip), str(tmp_path / "gone.mkv"),
        str(tmp_path / "text.mov"),
    ]  # fmt: skip
    scored = list(score_shots(scorer, open_shots(paths, 2.0), workers=2))
    assert [shot.name for shot, _ in scored] == [
        paths[0], paths[1], f"{clip}#t=0.000", f"{clip}#t=2.000", *paths[3:],
    ]  # fmt: skip
    assert [results[0].status for _, results in scored] == [
        "unreadable", "ok", "ok", "ok", "unreadable", "unreadable",
    ]  # fmt: skip
    assert all(results[0].path == shot.name for shot, results in scored)
    assert scored[1][1][0] == scorer.score(str(ORIGINAL))
    assert "cannot be read as a video" in scored[0][1][0].error


def test_without_an_interval_the_row_of_a_video_says_how_to_open_it(clip: Path) -> None:
    (shot,) = open_shots([str(clip)], None)
    assert shot.name == str(clip)
    assert str(shot.error) == "a video; add --every TIME to score its frames"


def test_a_video_that_ends_too_early_keeps_its_frames_and_gets_a_row(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mkv")
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert all(shot.error is None for shot in open_shots([str(whole)], 0.5))
    *frames, last = open_shots([str(tmp_path / "cut.mkv")], 0.5)
    assert 0 < len(frames) < 8
    assert "s of 4.0 s: cut short or damaged" in str(last.error)


def test_sound_that_outlasts_the_pictures_is_no_damage(tmp_path: Path) -> None:
    import av

    path = tmp_path / "long sound.mp4"
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=10)
        pictures.width = pictures.height = 320
        pictures.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        face = av.VideoFrame.from_image(Image.open(ORIGINAL).convert("RGB"))
        for _ in range(20):
            container.mux(pictures.encode(face))
        container.mux(pictures.encode())
        for start in range(0, 64000, 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 16000, start
            container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with av.open(str(path)) as container:
        assert container.duration > 3_500_000
    assert [shot.error for shot in open_shots([str(path)], 0.5)] == [None] * 4


def test_a_hole_in_a_video_gets_a_row() -> None:
    clock = Clock(0.5)
    due = [clock.is_due(time, 0) for time in (10, 10.1, 10.5, 12.9, 13, 13.5)]
    assert due == [True, False, True, True, True, True]
    with pytest.raises(DecodeError, match=r"no frame for 2.4 s after 0.5 s: damaged"):
        clock.check_whole(3.6)


def test_a_video_of_few_frames_is_not_called_damaged() -> None:
    clock = Clock(5.0)
    for time in (0, 4, 8):
        clock.is_due(time, 0)
    clock.check_whole(8.5)
    clock.check_whole(0)  # a header that tells no length


def test_a_frame_that_is_to_be_shown_long_leaves_no_hole() -> None:
    clock = Clock(0.5)
    assert [clock.is_due(time, 3.0) for time in (0, 3, 6)] == [True] * 3
    clock.check_whole(9.0)
    clock.is_due(12.5, 3.0)
    with pytest.raises(DecodeError, match="no frame for 3.5 s after 9.0 s: damaged"):
        clock.check_whole(15.5)


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_names_with_colons_and_pipes_are_files_not_addresses(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "12:30.mp4").write_bytes(clip.read_bytes())
    os.mkfifo(tmp_path / "pipe.mp4")
    assert len(list(open_shots([str(tmp_path / "12:30.mp4")], 1.0))) == 4
    (shot,) = open_shots([str(tmp_path / "pipe.mp4")], 1.0)
    assert str(shot.error) == "not a regular file"


def frame(value: int) -> RGB:
    return np.full((40, 40, 3), value, dtype=np.uint8)


def test_the_best_frames_are_kept_and_of_equals_the_earlier(scorer: Scorer, tmp_path: Path) -> None:
    from dataclasses import replace

    result = scorer.score(ORIGINAL)
    best = BestShots(2)
    for number, score in enumerate([0.2, 0.9, 0.5, 0.9, None, 0.9]):
        shot = Shot(f"a/clip.mp4#t={number}.000", frame(number))
        best.offer(shot, [replace(result, score=score)])
    best.offer(Shot("photo.jpg", "photo.jpg"), [replace(result, score=1.0)])
    written = best.write(tmp_path / "new/best")
    assert [path.name for path in written] == ["01-clip-1.000s.png", "02-clip-3.000s.png"]
    assert np.array_equal(read_rgb(written[1]), frame(3))


def test_best_frames_wait_encoded(scorer: Scorer) -> None:
    """Flat frames of a tiny video would take gigabytes as pixels."""
    result = scorer.score(ORIGINAL)
    best = BestShots(50)
    flat = np.full((2000, 2000, 3), 90, dtype=np.uint8)
    tracemalloc.start()
    for number in range(8):
        best.offer(Shot(f"clip.mp4#t={number}.000", flat.copy()), [result])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 8 * flat.nbytes / 20


def test_frames_of_too_many_pixels_are_refused_before_they_are_decoded(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(list(open_shots([str(clip)], 1, max_pixels=320 * 320))) == 4
    monkeypatch.setattr(video, "_to_rgb", pytest.fail)
    (shot,) = open_shots([str(clip)], 1, max_pixels=320 * 320 - 1)
    assert shot.name == str(clip)
    assert shot.error is not None
    assert shot.error.status == "too_large"
    assert str(shot.error).startswith("frames of 320 x 320 px are more than")


def test_frames_are_counted_in_pixels_as_they_are_shown(tmp_path: Path) -> None:
    make_timed_clip(tmp_path / "dvd.mp4", [0, 1], sample_aspect_ratio=Fraction(2, 1))
    (shot,) = open_shots([str(tmp_path / "dvd.mp4")], 1, max_pixels=256 * 256 - 1)
    assert shot.error is not None
    assert shot.error.status == "too_large"


def test_a_limit_of_pixels_holds_for_videos_on_the_command_line(
    run_cli: RunCli, clip: Path
) -> None:
    done = run_cli("score", clip, "--every", "1s", "--max-megapixels", "0.05")
    assert f"{clip}: frames of 320 x 320 px are more than the 50000 pixels allowed" in done.stderr


def test_the_best_shot_job_on_the_command_line(run_cli: RunCli, clip: Path, tmp_path: Path) -> None:
    done = run_cli("score", clip, "--every", "0.1s", "--best", "1", "-o", "rows.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    assert max(rows, key=lambda row: float(row["score"]))["path"] == f"{clip}#t=2.300"
    assert done.stdout == str(Path("best-frames/01-my clip-2.300s.png")) + "\n"
    assert (tmp_path / "best-frames/01-my clip-2.300s.png").exists()


def test_a_resumed_run_has_not_seen_the_best_frames_of_all(run_cli: RunCli, clip: Path) -> None:
    done = run_cli("score", clip, "--every", "1s", "--best", "1", "-o", "rows.csv", "--resume")
    assert done.returncode == 2
    assert "--best 1 looks at all frames, --resume leaves out those" in done.stderr


def test_the_best_frames_never_mix_with_an_earlier_runs(
    run_cli: RunCli, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "best-frames").mkdir()
    (tmp_path / "best-frames/01-old-1.000s.png").touch()
    done = run_cli("score", clip, "--every", "1s", "--best", "1", "-o", "rows.csv")
    assert done.returncode == 2
    assert "best-frames: is not empty" in done.stderr
    assert not (tmp_path / "rows.csv").exists()


def test_a_frame_cannot_be_copied_and_filter_says_how_to_get_it(
    run_cli: RunCli, clip: Path
) -> None:
    run_cli("score", clip, "--every", "1s", "-o", "rows.csv")
    done = run_cli("filter", "rows.csv", "--top", "1", "--copy-to", "good")
    assert done.returncode == 2
    assert "a frame of a video, no file; `mspt score VIDEO --every TIME --best N`" in done.stderr


def test_best_needs_videos_to_be_opened(run_cli: RunCli) -> None:
    where = run_cli("score", FACES, "--best-to", "here")
    assert "--best-to here says where the best frames go; add --best N" in where.stderr
    done = run_cli("score", FACES, "--best", "2")
    assert done.returncode == 2
    assert "--best 2 is about frames of videos; add --every TIME" in done.stderr
    photos = run_cli("score", FACES, "--every", "1s", "--best", "2")
    assert photos.returncode == 2
    assert "--best 2: there is no video among the paths; drop it" in photos.stderr


def test_without_pyav_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['av'] = None; from mspt.inference.video import open_shots; "
        "open_shots(['a.mp4'], 1.0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: av is not installed" in done.stderr
    assert '".[video]"' in done.stderr


def test_without_pyav_no_rows_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "r.csv").write_text("path,score\n")
    options = ["score", "a.mp4", "--every", "1s", "-o", "r.csv", "--overwrite", "--model", "fast"]
    code = (
        f"import sys; sys.modules['av'] = None; sys.argv[1:] = {options}; "
        "from mspt.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "av is not installed" in done.stderr
    assert (tmp_path / "r.csv").read_text() == "path,score\n"


# As players show them


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda p: p),
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),  # a front camera's mirror
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),  # a phone held upright
        ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
        ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
    ],
)
def test_a_display_matrix_turns_and_mirrors(
    matrix: tuple[int, int, int, int], shown: Callable[[RGB], RGB]
) -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(video._display(picture, matrix), shown(picture))


def make_timed_clip(path: Path, times: list[int], **stream_options: object) -> None:
    """Write a frame at each time, in tenths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 256, "yuv420p"
        stream.time_base = Fraction(1, 10)
        for name, value in stream_options.items():
            setattr(stream, name, value)
        for time in times:
            frame = av.VideoFrame.from_image(Image.open(ORIGINAL).resize((128, 256)))
            frame.pts, frame.time_base = time, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    make_timed_clip(tmp_path / "dvd.mp4", [0, 1, 2], sample_aspect_ratio=Fraction(2, 1))
    ((_, rgb),) = list(video._read_frames(str(tmp_path / "dvd.mp4"), 9))
    assert rgb.shape == (256, 256, 3)


def test_frames_that_stay_long_are_no_damage(tmp_path: Path) -> None:
    make_timed_clip(tmp_path / "slides.mp4", [0, 40, 95, 100])
    times = [time for time, _ in video._read_frames(str(tmp_path / "slides.mp4"), 1)]
    assert times == pytest.approx([0, 4, 9.5, 10])


def test_where_no_header_counts_frames_a_pause_is_no_damage_but_a_hole_is(tmp_path: Path) -> None:
    make_timed_clip(tmp_path / "screen.mkv", [0, 1, 60, 61, 140])
    assert len(list(video._read_frames(str(tmp_path / "screen.mkv"), 0.1))) == 5
    make_timed_clip(tmp_path / "whole.mkv", list(range(200)))
    whole = (tmp_path / "whole.mkv").read_bytes()
    first, last = (int(share * len(whole)) for share in (0.6, 0.7))
    (tmp_path / "hole.mkv").write_bytes(whole[:first] + bytes(last - first) + whole[last:])
    with pytest.raises(DecodeError, match=r"no frame for .* s after .* s: damaged"):
        list(video._read_frames(str(tmp_path / "hole.mkv"), 0.5))


@pytest.mark.parametrize("kept", [bytes, lambda count: b""])  # zeros, or nothing
def test_a_hole_is_seen_though_all_that_is_left_can_be_decoded(
    kept: Callable[[int], bytes], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0)
    with av.open(str(tmp_path / "whole.webm"), "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        stream.codec_context.gop_size = 25  # it finds its feet again behind a hole
        for number in range(250):
            picture = np.full((128, 160, 3), number % 256, np.uint8)
            picture[20:60, 20:60] = noise.integers(0, 255, (40, 40, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    assert len(list(video._read_frames(str(tmp_path / "whole.webm"), 0.5))) == 20
    whole = (tmp_path / "whole.webm").read_bytes()
    first, last = (int(share * len(whole)) for share in (0.4, 0.7))
    (tmp_path / "hole.webm").write_bytes(whole[:first] + kept(last - first) + whole[last:])
    with pytest.raises(DecodeError, match=r"no frame for .* s after .* s: damaged"):
        list(video._read_frames(str(tmp_path / "hole.webm"), 0.5))


def test_a_clock_that_starts_late_is_no_damage(tmp_path: Path) -> None:
    make_timed_clip(tmp_path / "second-part.mkv", list(range(42, 62)))
    frames = list(video._read_frames(str(tmp_path / "second-part.mkv"), 0.5))
    assert len(frames) == 4


@pytest.mark.parametrize("suffix", [".ts", ".mpg", ".3gp", ".flv"])
def test_other_containers_are_opened(suffix: str, tmp_path: Path) -> None:
    make_clip_of(tmp_path / f"clip{suffix}")
    assert video.is_video(f"clip{suffix}")
    assert len(list(video._read_frames(str(tmp_path / f"clip{suffix}"), 0.5))) >= 2


def make_clip_of(path: Path) -> None:
    codec = "mpeg2video" if path.suffix == ".mpg" else "libx264"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 128
        stream.pix_fmt = "yuv420p"
        for _ in range(25):
            picture = Image.open(ORIGINAL).resize((128, 128))
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def test_a_title_of_another_encoding_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "title.mp4"
    make_clip_of(path)
    with av.open(str(tmp_path / "titled.mp4"), "w") as out, av.open(str(path)) as source:
        stream = out.add_stream_from_template(source.streams.video[0])
        out.metadata["title"] = "caf____"
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    titled = tmp_path / "titled.mp4"
    titled.write_bytes(titled.read_bytes().replace(b"caf____", b"caf\xe9\xff\xfe "))
    assert len(list(video._read_frames(str(titled), 0.5))) == 2


def test_a_long_name_does_not_lose_the_best_frames(tmp_path: Path, face: RGB) -> None:
    best = video.BestShots(1)
    name = "x" * 245 + ".mp4#t=1.500"
    best.offer(video.Shot(name, face), [result_of(0.5)])
    (written,) = best.write(tmp_path)
    assert len(written.name) <= 255
    assert written.name.endswith("-1.500s.png")


def result_of(score: float) -> QualityScore:
    return QualityScore(path="", score=score, percentile=50.0, model="m")


def test_resuming_a_video_at_another_interval_costs_no_row(run_cli: RunCli, tmp_path: Path) -> None:
    make_clip(tmp_path / "v.mp4")
    run_cli("score", "v.mp4", "--every", "0.2s", "-o", "s.csv", "--model", "fast")
    before = (tmp_path / "s.csv").read_bytes()
    for options in ((), ("--every", "0.5s")):
        done = run_cli("score", "v.mp4", *options, "-o", "s.csv", "--resume", "--model", "fast")
        assert done.returncode == 2
        assert "was begun with another --every" in done.stderr
    assert (tmp_path / "s.csv").read_bytes() == before
