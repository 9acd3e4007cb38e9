"""What README promises is run as it stands."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ORIGINAL, ROOT, RunCli

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


def test_the_scoring_commands_run(run_cli: RunCli, tmp_path: Path) -> None:
    make_workplace(tmp_path)
    commands = re.findall(r"^mspt (score .*?)(?:  +#.*)?$", README, flags=re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        done = run_cli(*command.split())
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "scores.csv").exists()


def test_every_command_mentioned_exists(run_cli: RunCli) -> None:
    for command in set(re.findall(r"^mspt (\w+)", README, flags=re.MULTILINE)):
        assert run_cli(command, "--help").returncode == 0
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"^make ([\w-]+)", README, flags=re.MULTILINE)):
        assert f"\n{target}:" in makefile
