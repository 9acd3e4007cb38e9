"""A run from its first stage to its last: larger and more diverse, resumable at any step.

In:   RunConfig and an output folder.
Out:  OUT/checkpoints/stageK-stepN/, OUT/scores/stageK.csv (every val image, scored after stage K),
      OUT/metrics.jsonl, OUT/tensorboard/, OUT/summary.md with plots, and a lock while it runs;
      returns the last checkpoint.

Each stage starts from the averaged network of the stage before, with a fresh optimiser, a short
warm-up and a decay to near zero. After each stage every stage's validation set is scored at that
stage's size, so that the summary can say what was forgotten.
"""

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout
from torch import Tensor

from mspt.errors import ConfigError, TrainingError
from mspt.evaluation.manifest import Entry, select_entries
from mspt.evaluation.metrics import plcc, srcc
from mspt.evaluation.predictions import Predictions, predictions_path, write_predictions
from mspt.parallel import usable_cores
from mspt.spec import InputSpec, square_spec
from mspt.training.batches import BatchSource
from mspt.training.carryover import Anchor, reestimate_batch_norm
from mspt.training.checkpoint import (
    State,
    checkpoint_name,
    latest_checkpoint,
    list_checkpoints,
    load_network,
    load_state,
    load_tensors,
    place_of,
    save_checkpoint,
)
from mspt.training.config import RunConfig, Stage
from mspt.training.engine import Engine, learning_rate, score_frames
from mspt.training.frames import Frames, build_frames, check_images
from mspt.training.lineage import describe_start
from mspt.training.plan import RunPlan, make_plan
from mspt.training.run_log import LiveView, Log, RunLog
from mspt.training.run_summary import write_summary
from mspt.training.same_run import check_same_run

_LOG_EVERY = 20  # steps
_START_BATCHES = 16  # that start weights from a model file are measured on


def train(run: RunConfig, out_dir: Path, *, resume: bool = False, log: Log = print) -> Path:
    """Train all stages and return the folder of the last checkpoint.

    Args:
        run: what to train.
        out_dir: receives all that the run writes.
        resume: go on from the newest checkpoint; without it, `out_dir` must hold none.
        log: takes lines of progress.

    Raises:
        ConfigError: if data and run do not fit, an image is broken, or `out_dir` holds a run or is
            written to by another one now.
    """
    plan = make_plan(run)
    trainer = Trainer(plan, out_dir, log)
    with trainer.alone():
        if latest_checkpoint(trainer.checkpoints) and not resume:
            raise ConfigError(f"{out_dir} already holds checkpoints; add --resume or delete it")
        trainer.check_images()
        trainer.begin()
        for number in range(trainer.stage, len(plan.run.stages) + 1):
            trainer.train_stage(trainer.run.stage(number))
        trainer.finish()
    last = plan.run.stages[-1]
    return trainer.checkpoints / checkpoint_name(len(plan.run.stages), last.steps)


class Trainer:
    """Where a run stands, and what takes it further."""

    def __init__(self, plan: RunPlan, out_dir: Path, log: Log) -> None:
        """Set everything up at the first step."""
        self.run, self._plan = plan.run, plan
        self.out_dir = out_dir
        self.checkpoints = out_dir / "checkpoints"
        self.engine = Engine(self.run)
        self._is_main = self.engine.accelerator.is_main_process
        self._log: Log = log if self._is_main else lambda line: None
        self._run_log = RunLog(out_dir, self.run.stages, active=self._is_main)
        self.stage, self.step = 1, 0
        self._parent: dict[str, Any] = {}
        for stage in self.run.stages:
            self.engine.check_batch(stage)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out of the folder; the system lets go of a killed run's lock.

        Raises:
            ConfigError: in all processes, if another run is there.
        """
        self.out_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.out_dir / ".mspt-train.lock", timeout=0)
        taken = [self._is_main and self._is_taken(lock)]
        if broadcast_object_list(taken)[0]:
            raise ConfigError(
                f"{self.out_dir}: another mspt train writes there now; wait for it, stop it, or "
                "name another folder by --out"
            )
        try:
            yield
        finally:
            lock.release()

    def _is_taken(self, lock: FileLock) -> bool:
        """Take the lock, or tell that another run has it."""
        try:
            lock.acquire()
        except Timeout:
            return True
        except OSError as error:  # some network file systems have no locks
            self._log(f"{self.out_dir}: cannot be locked ({error}); start no second run there")
        return False

    def check_images(self) -> None:
        """Refuse broken images now rather than hours later."""
        with self.engine.accelerator.main_process_first():
            entries = [*self._plan.train, *self._plan.val]
            self._log(f"checking {len(entries)} images")
            check_images(entries, (self.run.engine.cache or self.out_dir) / "checked-images.txt")

    def begin(self) -> None:
        """Go on from the newest checkpoint, or start if there is none.

        Raises:
            ConfigError: if the checkpoint belongs to another run file or other data, or the start
                weights cannot be had.
        """
        folder = latest_checkpoint(self.checkpoints)
        if folder:
            self._restore(folder)
            return
        self._run_log.resume_after(0, 0)
        if self._is_main:  # of a run that left no checkpoint: nothing here may tell of two runs
            shutil.rmtree(self.out_dir / "scores", ignore_errors=True)
        if self.run.init:
            self._parent = describe_start(self.run.init)
            remark = self.engine.load_start(self.run.init, self._first_images())
            if remark and self.run.stages[0].distill:
                raise ConfigError(f"{remark}: stage 1 cannot stay near its scores; drop distill")
            self._log(remark or f"start weights: {self.run.init}")
            self.stage = 0  # kept: a resumed run and L2-SP need them, whatever becomes of the file
            self._save(square_spec(self.run.stages[0].short_side))
        self._enter_stage(1)

    def _first_images(self) -> Iterator[Tensor]:
        """Yield some batches of the first stage, whose statistics a model file no longer has."""
        stage = self.run.stage(1)
        entries = select_entries(self._plan.train, sources=stage.config.sources)
        yield from self._whole_batches(stage, self._frames(1, entries, stage.spec), _START_BATCHES)

    def _whole_batches(self, stage: Stage, frames: Frames, count: int) -> Iterator[Tensor]:
        """Yield a stage's first batches, whole in every process: all measure the same on them."""
        source = BatchSource(frames, stage, seed=self.run.seed)
        for step in range(count):
            yield source.draw(step).rgb

    def _restore(self, folder: Path) -> None:
        state = load_state(folder)
        check_same_run(folder, state, self.run, self._plan.digest)
        self._parent = state.parent
        self.engine.averaged.load_state_dict(load_network(folder).state_dict())
        self.engine.restore_scaler(state.scaler)
        if state.stage == 0 or state.step == self.run.stages[state.stage - 1].steps:
            if state.stage:
                self._drop_frames(state.stage)
            self._enter_stage(state.stage + 1)
        else:
            self.stage, self.step = state.stage, state.step
            self.engine.apply_settings(self.run.stages[self.stage - 1])
            training = load_tensors(folder / "training.safetensors")
            self.engine.restore_training_state(training)
            self._set_anchor()
        self._run_log.resume_after(state.stage, state.step)
        self._log(f"resumed from {folder.name}")

    def _enter_stage(self, number: int) -> None:
        """Stand at the first step of a stage, or behind the last one."""
        self.stage, self.step = number, 0
        if number <= len(self.run.stages):
            self.engine.enter_stage(self.run.stages[number - 1])
            self._set_anchor()

    def _set_anchor(self) -> None:
        """Keep what the stage started from, where it is asked to stay near that."""
        stage = self.run.stages[self.stage - 1]
        self.engine.anchor = None
        if not (stage.distill or stage.l2sp):
            return
        before = self.run.stages[self.stage - 2] if self.stage > 1 else None
        steps, side = (before.steps, before.short_side) if before else (0, stage.short_side)
        start = load_network(self.checkpoints / checkpoint_name(self.stage - 1, steps))
        self.engine.anchor = Anchor(start.to(self.engine.accelerator.device), side)

    def train_stage(self, stage: Stage) -> None:
        """Train one stage from wherever it stands, evaluate it and keep its checkpoint."""
        config = stage.config
        entries = select_entries(self._plan.train, sources=config.sources)
        self._log(
            f"stage {stage.number}: preparing {len(entries)} images at {config.short_side} px"
        )
        frames = self._frames(stage.number, entries, stage.spec)
        # Now, so that a full disk shows before training.
        val = self._frames(stage.number, self._plan.val, stage.spec)
        if self.step == 0 and config.reestimate_bn:
            self._renew_batch_norm(stage, frames)
        live = LiveView(self.run.stages, self._plan.costs, stage.number)
        source = BatchSource(frames, stage, seed=self.run.seed, shard=self.engine.shard)
        for batch in source.stream(self.step, config.steps, workers=self._workers()):
            result = self.engine.train_step(stage, batch)
            self.step += 1
            self._check_loss(stage, result.loss)
            live.add(result)
            if self.step % _LOG_EVERY == 0 or self.step == config.steps:
                self._report(stage, live)
            if self.step % self.run.engine.save_every == 0 and self.step < config.steps:
                self._save(stage.spec)
        self._evaluate(stage, val)
        self._save(stage.spec)
        del frames, val, source  # Windows deletes no file that is mapped
        self._drop_frames(stage.number)
        self._enter_stage(stage.number + 1)

    def finish(self) -> None:
        """Write the summary of the whole run."""
        self._run_log.close()
        if self._is_main:
            self._log(f"summary: {write_summary(self.out_dir, self.run)}")
        self.engine.accelerator.wait_for_everyone()

    def _frames(self, stage: int, entries: Sequence[Entry], spec: InputSpec) -> Frames:
        with self.engine.accelerator.main_process_first():
            return build_frames(entries, spec, self._frames_dir(stage))

    def _frames_dir(self, stage: int) -> Path:
        """Return where a stage's prepared frames lie while it is trained."""
        return self.run.engine.cache or self.out_dir / f"frames-stage{stage}"

    def _drop_frames(self, stage: int) -> None:
        """Delete gigabytes that no later stage needs, unless other runs share them."""
        self.engine.accelerator.wait_for_everyone()
        if self._is_main and not self.run.engine.cache:
            shutil.rmtree(self._frames_dir(stage), ignore_errors=True)

    def _workers(self) -> int:
        return self.run.engine.workers or max(1, usable_cores() // 2)

    def _renew_batch_norm(self, stage: Stage, frames: Frames) -> None:
        device = self.engine.accelerator.device
        batches = self._whole_batches(stage, frames, stage.config.reestimate_bn)
        reestimate_batch_norm(self.engine.network, (rgb.to(device) for rgb in batches))
        self.engine.averaged.load_state_dict(self.engine.network.state_dict())

    def _check_loss(self, stage: Stage, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"stage {stage.number}, step {self.step}: the loss is {loss}; lower peak_lr "
                f"({stage.config.peak_lr}) or lengthen warmup_steps "
                f"({stage.config.warmup_steps}), and start in a new folder"
            )

    def _report(self, stage: Stage, live: LiveView) -> None:
        values = live.values()
        self._log(live.line(self.step, values))
        rate = learning_rate(stage.config, self.step - 1)
        self._run_log.add(stage.number, self.step, values | {"lr": rate})

    def _evaluate(self, stage: Stage, val: Frames) -> None:
        """Score every stage's validation set at this stage's size."""
        if not self._is_main:
            return
        scored = Predictions(val.entries, score_frames(self.engine.averaged, val))
        write_predictions(predictions_path(self.out_dir, stage.number), scored)
        agreement = {}
        for set_number, config in enumerate(self.run.stages, 1):
            part = scored.select(config.sources)
            values = {"srcc": srcc(part.score, part.mos), "plcc": plcc(part.score, part.mos)}
            agreement[str(set_number)] = values
            self._log(
                f"after stage {stage.number}, on the val set of stage {set_number}: "
                f"SRCC {values['srcc']:.4f}  PLCC {values['plcc']:.4f}  ({len(part.score)} images)"
            )
        self._run_log.add(stage.number, self.step, {"val": agreement})

    def _save(self, spec: InputSpec) -> None:
        """Write a checkpoint and drop older ones of the same stage."""
        if self._is_main:
            self._write_checkpoint(spec)
        self.engine.accelerator.wait_for_everyone()

    def _write_checkpoint(self, spec: InputSpec) -> None:
        state = State(
            run=self.run,
            stage=self.stage,
            step=self.step,
            spec=spec,
            data_digest=self._plan.digest,
            scaler=self.engine.scaler_state(),
            parent=self._parent,
        )
        folder = self.checkpoints / checkpoint_name(self.stage, self.step)
        weights = dict(self.engine.averaged.state_dict())
        save_checkpoint(folder, state, weights, self.engine.collect_training_state())
        for old in list_checkpoints(self.checkpoints):
            stage, step = place_of(old)
            if stage == self.stage and step < self.step:
                shutil.rmtree(old)
