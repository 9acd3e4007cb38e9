"""What README promises is run as it stands."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DETECTOR, ORIGINAL, ROOT, RunCli
from PIL import Image

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)


def make_workplace(folder: Path) -> None:
    shutil.copytree(ROOT / "examples", folder / "examples")
    for name in ("a.jpg", "b.png"):
        shutil.copy(ORIGINAL, folder / name)


def test_the_first_block_is_the_two_commands() -> None:
    assert re.findall(r"^make (\w+)", BLOCKS[0][1], flags=re.MULTILINE) == ["demo", "test"]


def test_the_python_example_runs(tmp_path: Path) -> None:
    make_workplace(tmp_path)
    (code,) = [body for language, body in BLOCKS if language == "python"]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["a.jpg", "b.png"]


USING = r"^mspt ((?:score|report|filter|threshold) .*?)(?:  +#.*)?$"


def test_the_scoring_commands_run(
    run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_workplace(tmp_path)
    shutil.copy(ROOT / "examples/astronaut.png", tmp_path / "party.jpg")
    make_clip(tmp_path / "clip.mp4")
    if DETECTOR:
        monkeypatch.setenv("MSPT_DETECTOR", str(DETECTOR))
    commands = re.findall(USING, README, flags=re.MULTILINE)
    assert len(commands) == 8
    for command in commands:
        if "--detect" in command and not DETECTOR:
            continue
        done = run_cli(*shlex.split(command))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "scores.csv").exists()
    assert (tmp_path / "report.html").exists()
    assert len(list((tmp_path / "best-frames").iterdir())) == 4


def make_clip(path: Path) -> None:
    """Two seconds of one face."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 320
        stream.pix_fmt = "yuv420p"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_image(Image.open(ORIGINAL))))
        container.mux(stream.encode())


def test_every_command_mentioned_exists(run_cli: RunCli) -> None:
    for command in set(re.findall(r"^mspt (\w+)", README, flags=re.MULTILINE)):
        assert run_cli(command, "--help").returncode == 0
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"^make ([\w-]+)", README, flags=re.MULTILINE)):
        assert f"\n{target}:" in makefile
