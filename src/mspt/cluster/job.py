"""A job: parts handed to Ray, which keeps the actors alive; what is done is not done again.

In:   inputs and an output folder, local or on a file system that pyarrow knows.
Out:  OUTPUT/part-0000000.parquet ..., one for each part, and OUTPUT/plan.json, which says what the
      job is, so that a job started again with other inputs or options is refused.

A part's file appears whole or not at all. So a job that was killed, started again, scores just the
parts without a file, and no row is lost or there twice. Ray replaces actors and nodes that die.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mspt.cluster.parts import Work, name_of_part, score_part
from mspt.cluster.plan import Part, Plan, make_plan
from mspt.cluster.storage import Place
from mspt.errors import ClusterError, ConfigError, MissingExtraError, MsptError, WriteError
from mspt.inference.scorer import FaceSearch, Scorer
from mspt.parallel import keep_freed_memory

_PLAN = "plan.json"
_FORMAT = 1  # of plan.json


@dataclass(frozen=True, slots=True)
class JobReport:
    """What became of a job."""

    parts: int
    there: int  # of them were there before
    rows: int  # of the others
    failed: int  # of these rows, not ok


def score(
    inputs: Sequence[str],
    output: str,
    *,
    listed: Sequence[str] = (),
    column: str = "",
    part_photos: int = 1000,
    model: str = "base",
    backend: str = "auto",
    factors: bool = False,
    faces: FaceSearch | None = None,
    detector: str | None = None,
    trust_detector: bool = False,
    address: str | None = None,
    actors: int | None = None,
    cpus: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, failed: None,
    on_plan: Callable[[Plan], None] = lambda plan: None,
) -> JobReport:
    """Score photos on a Ray cluster and write their rows, the same as those of `mspt score`.

    Args:
        inputs: as for `make_plan`.
        output: folder, or address such as s3://bucket/scores. It is made if need be.
        listed: photos of a list.
        column: of tables; default: the first with a known name.
        part_photos: how many photos a part has: what is lost at most when an actor dies.
        model: an embedded model, or a file that every node has at this path.
        backend: as for `mspt.load`.
        factors: measure also why a score may be low.
        faces: score faces instead of whole photos.
        detector: as for `mspt.load`; every node needs it.
        trust_detector: as for `mspt.load`.
        address: of a running cluster, or "auto"; default: one that starts here, for this job.
        actors: how many score; default: as many as the cluster has room for.
        cpus: of each actor: so many photos are scored at once.
        on_progress: is told how many parts are done, and how many rows are not ok.
        on_plan: is told the plan before anything is scored.

    Raises:
        ConfigError: if nothing is found, or the folder belongs to another job.
        DataError: if an input cannot be read.
        ModelError, MissingExtraError: as `mspt.load`.
        WriteError: if rows cannot be written.
        ClusterError: if a shard cannot be read, or the cluster fails; started again, it goes on.
    """
    work = Work(
        scorer={
            "model": model,
            "backend": backend,
            "detector": detector,
            "trust_detector": trust_detector,
            "factors": factors,
        },
        faces=faces,
        threads=cpus,
        base=os.getcwd(),
        output=output if "://" in output else os.path.abspath(output),
    )
    label = _check_scorer(work)
    plan = make_plan(inputs, listed=listed, column=column, part_photos=part_photos)
    on_plan(plan)
    there = _open_output(work, plan, label)
    todo = [number for number in range(len(plan.parts)) if name_of_part(number) not in there]
    done, rows, failed = len(there), 0, 0
    on_progress(done, failed)
    for count in _run(work, plan, todo, address, actors):
        done, rows, failed = done + 1, rows + count["rows"], failed + count["failed"]
        on_progress(done, failed)
    return JobReport(len(plan.parts), len(there), rows, failed)


def _check_scorer(work: Work) -> str:
    """Load the model here, so that what is wrong with it is known before a cluster starts."""
    scorer = Scorer(**work.scorer)
    scorer.score_photos([], faces=work.faces)  # asks for the detector
    return scorer.label


def _open_output(work: Work, plan: Plan, label: str) -> frozenset[str]:
    """Make the output folder, or go on in it; return the names of the parts that are there."""
    folder = Place.of(work.output)
    about = {
        "format": _FORMAT,
        "model": label,
        "faces": asdict(work.faces) if work.faces else None,
        "factors": bool(work.scorer["factors"]),
        "parts": len(plan.parts),
        "photos and parts": plan.digest(),
    }
    try:
        folder.make()
        names = frozenset(folder.files())
        if _PLAN in names:
            _check_same(work.output, json.loads(folder.below(_PLAN).read(2**20)), about)
        elif names:
            raise ConfigError(
                f"{work.output}: holds other files, such as {min(names)}, and no {_PLAN}; name an "
                "empty folder, or a new one"
            )
        else:
            folder.below(_PLAN).write(json.dumps(about, indent=2).encode())
        folder.remove_drafts()
    except (OSError, ValueError) as error:
        raise WriteError(f"{work.output}: cannot be used: {error}") from error
    return names & {name_of_part(number) for number in range(len(plan.parts))}


def _check_same(output: str, found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    for name, value in wanted.items():
        if found.get(name) != value:
            raise ConfigError(
                f"{output}: was begun with other {name} ({found.get(name)}, now {value}); give the "
                "inputs and options that it was begun with, or name another folder"
            )


class _Actor:
    """Scores one part after another; Ray makes as many as there is room for."""

    def __init__(self, work: Work) -> None:
        keep_freed_memory()
        self._work, self._scorer = work, Scorer(**work.scorer)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Score the parts of a batch: `number` and `part`, one each."""
        counts = [
            score_part(self._scorer, Part(**json.loads(part)), int(number), self._work)
            for number, part in zip(batch["number"], batch["part"], strict=True)
        ]
        return {
            "rows": np.array([count.rows for count in counts]),
            "failed": np.array([count.failed for count in counts]),
        }


def _run(
    work: Work, plan: Plan, todo: Sequence[int], address: str | None, actors: int | None
) -> Iterator[dict[str, int]]:
    """Yield what became of each part, as parts are done."""
    if not todo:
        return
    ray = _import_ray()
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield from _parts_done(ray, work, plan, todo, actors, can_grow=address is not None)
    except Exception as error:
        raise _cause_of(error, len(todo)) from error
    finally:
        if is_ours:
            ray.shutdown()


def _import_ray() -> Any:  # noqa: ANN401 - a module
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told what runs here
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its remarks are not about the photos
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("cluster", error) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _parts_done(
    ray: Any,  # noqa: ANN401 - a module
    work: Work,
    plan: Plan,
    todo: Sequence[int],
    actors: int | None,
    *,
    can_grow: bool,
) -> Iterator[dict[str, int]]:
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = [{"number": n, "part": json.dumps(asdict(plan.parts[n]))} for n in todo]
    cores = int(ray.cluster_resources().get("CPU", 1))
    wanted = actors or max(1, cores // work.threads)
    if not can_grow and wanted * work.threads > cores:  # Ray would wait for cores for ever
        raise ConfigError(
            f"{wanted} actors of {work.threads} cores need {wanted * work.threads}, but there are "
            f"{cores}; lower --actors or --cpus"
        )
    pool = ray.data.ActorPoolStrategy(size=min(wanted, len(rows)))
    yield from (
        ray.data.from_items(rows, override_num_blocks=len(rows))  # a part is tried again alone
        .map_batches(
            _Actor, fn_constructor_args=(work,), batch_size=1, num_cpus=work.threads, compute=pool
        )
        .iter_rows()
    )


def _cause_of(error: BaseException, parts: int) -> Exception:
    """Return our own error below what Ray makes of it, or one that says where to look."""
    found: BaseException | None = error
    while found is not None:
        cause = getattr(found, "cause", None)  # of a RayTaskError
        for known in (found, cause):
            if isinstance(known, MsptError):
                return type(known)(str(known).splitlines()[-1]) if known is found else known
        found = found.__cause__ or (cause if isinstance(cause, BaseException) else None)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ClusterError(
        f"not all of the {parts} parts could be done: {lines[-1]}. What is done is kept: mend that "
        "and start the job again"
    )
