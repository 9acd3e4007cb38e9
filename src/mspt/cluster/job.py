"""A job: parts handed to Ray, which keeps the actors alive; what is done is not done again.

In:   inputs and an output folder, local or on a file system that pyarrow knows.
Out:  OUTPUT/part-0000000.parquet ..., one for each part, and OUTPUT/_plan.json, which says what the
      job is, so that a job started again with other inputs or options is refused.

A part's file appears whole or not at all. So a job that was killed, started again, scores just the
parts without a file, and no row is lost or there twice. Ray replaces actors and nodes that die.
"""

import json
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mspt.cluster.parts import Work, name_of_part, score_part
from mspt.cluster.plan import Part, Plan, make_plan
from mspt.cluster.storage import Place
from mspt.errors import ClusterError, ConfigError, MissingExtraError, MsptError, WriteError
from mspt.inference.faces import FaceSearch
from mspt.inference.scorer import Scorer
from mspt.parallel import keep_freed_memory

_PLAN = "_plan.json"  # readers of a folder of Parquet files pass it over
_FORMAT = 2  # of the plan
_DIGEST = "photos and parts"  # in it
_CONNECT_S = 10


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
    column: str = "",
    part_photos: int = 1000,
    scorer: Scorer | None = None,
    faces: FaceSearch | None = None,
    address: str | None = None,
    actors: int | None = None,
    cpus: int = 1,
) -> JobReport:
    """Score photos on a Ray cluster and write their rows, the same as those of `mspt score`.

    Args:
        inputs: files, folders, patterns and addresses such as s3://bucket/folder; .tar shards
            and .parquet tables among them.
        output: folder, or address such as s3://bucket/scores. It is made if need be.
        column: of tables; default: the first with a known name.
        part_photos: how many photos a part has: what is lost at most when an actor dies.
        scorer: as `mspt.load` returns it; default: `mspt.load()`. Every actor loads the same model
            on the same backend: each node needs a model's file, and the detector's, at its path.
        faces: score faces instead of whole photos.
        address: of a running cluster, or "auto"; default: one that starts here, for this job.
        actors: how many score; default: as many as the cluster has room for.
        cpus: of each actor: so many photos are scored at once.

    Raises:
        ConfigError: if nothing is found, the folder belongs to another job, or a number is below 1.
        DataError: if an input cannot be read.
        MissingExtraError: if Ray is not installed.
        WriteError: if rows cannot be written.
        ClusterError: if a shard cannot be read, or the cluster fails; started again, it goes on.
    """
    plan = make_plan(inputs, column=column, part_photos=part_photos, output=output)
    return run(
        plan, output, scorer or Scorer(), faces=faces, address=address, actors=actors, cpus=cpus
    )


def run(
    plan: Plan,
    output: str,
    scorer: Scorer,
    *,
    faces: FaceSearch | None = None,
    address: str | None = None,
    actors: int | None = None,
    cpus: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, failed: None,
) -> JobReport:
    """Do what a plan says, or what is left of it.

    Args:
        plan: the parts.
        output: as the further ones, see `score`.
        scorer: what scores.
        faces: of each photo.
        address: of the cluster.
        actors: their number.
        cpus: of each.
        on_progress: is told how many parts are done, and how many rows are not ok.

    Raises:
        As `score`.
    """
    for name, number in (("actors", actors), ("cpus", cpus)):
        if number is not None and number < 1:
            raise ConfigError(f"{name} {number} must be at least 1")
    scorer.score_photos([], faces=faces)  # asks for the detector before a cluster starts
    work = Work(
        factors=scorer.has_factors,
        faces=faces,
        threads=cpus,
        base=os.getcwd(),
        output=output if "://" in output else os.path.abspath(output),
    )
    there = _open_output(work, plan, scorer)
    todo = [number for number in range(len(plan.parts)) if name_of_part(number) not in there]
    done, rows, failed = len(there), 0, 0
    on_progress(done, failed)
    for count in _run(scorer, work, plan, todo, address, actors):
        done, rows, failed = done + 1, rows + count["rows"], failed + count["failed"]
        on_progress(done, failed)
    return JobReport(len(plan.parts), len(there), rows, failed)


def _open_output(work: Work, plan: Plan, scorer: Scorer) -> frozenset[str]:
    """Make the output folder, or go on in it; return the names of the parts that are there."""
    folder = Place.of(work.output)
    about = {
        "format": _FORMAT,
        "model": scorer.label,
        **scorer.fingerprint(faces=work.faces is not None),
        "faces": asdict(work.faces) if work.faces else None,
        "factors": work.factors,
        "parts": len(plan.parts),
        _DIGEST: plan.digest(),
        "folder of relative paths": work.base if plan.has_relative_paths() else "",
    }
    try:
        folder.make()
        sizes = folder.files()
        if _PLAN in sizes:
            _check_same(work.output, _read_plan(folder), about)
        elif sizes:
            raise ConfigError(
                f"{work.output}: holds other files, such as {min(sizes)}, and no {_PLAN}; name an "
                "empty folder, or a new one"
            )
        else:
            folder.below(_PLAN).write(json.dumps(about, indent=2).encode())
        folder.remove_drafts()
    except OSError as error:
        raise WriteError(f"{work.output}: cannot be used: {error}") from error
    names = (name_of_part(number) for number in range(len(plan.parts)))
    return frozenset(name for name in names if sizes.get(name))  # an empty file is no part


def _read_plan(folder: Place) -> dict[str, object]:
    place = folder.below(_PLAN)
    try:
        found = json.loads(place.read(2**20))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError(
            f"{place.path}: is no plan of a job, so a run was stopped while it wrote it; delete it "
            "and the parts beside it, or name another folder"
        )
    return found


def _check_same(output: str, found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    if found.get("format") != _FORMAT:
        raise ConfigError(
            f"{output}: was begun by another version of mspt (format {found.get('format')}, now "
            f"{_FORMAT}); finish it with that one, or name another folder"
        )
    for name, value in wanted.items():
        if found.get(name) != value:
            both = "" if name == _DIGEST else f" ({found.get(name)}, now {value})"
            raise ConfigError(
                f"{output}: was begun with other {name}{both}; give the inputs and options that it "
                "was begun with, or name another folder"
            )


class _Actor:
    """Scores one part after another; Ray makes as many as there is room for."""

    def __init__(self, scorer: Scorer, work: Work) -> None:
        keep_freed_memory()
        self._scorer, self._work = scorer, work

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Score the parts of a batch: `number` and `part`, one each.

        What goes wrong comes back as text: Ray passes on no more of an exception.
        """
        done = [
            self._score(Part(**json.loads(part)), int(number))
            for number, part in zip(batch["number"], batch["part"], strict=True)
        ]
        rows, failed, errors = zip(*done, strict=True)
        return {"rows": np.array(rows), "failed": np.array(failed), "error": np.array(errors)}

    def _score(self, part: Part, number: int) -> tuple[int, int, str]:
        try:
            count = score_part(self._scorer, part, number, self._work)
        except MsptError as error:
            return 0, 0, str(error)
        except (OSError, pa.ArrowException) as error:
            return 0, 0, f"{part.source}: {error}"
        return count.rows, count.failed, ""


def _run(
    scorer: Scorer,
    work: Work,
    plan: Plan,
    todo: Sequence[int],
    address: str | None,
    actors: int | None,
) -> Iterator[dict[str, Any]]:
    """Yield what became of each part, as parts are done."""
    if not todo:
        return
    ray = _import_ray()
    is_ours = not ray.is_initialized()
    if is_ours:
        _check_somebody_listens(address)
        # Without an address Ray would join any cluster that it finds on this machine.
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR)
    try:
        pool = _pool(ray, work, actors, len(todo), can_grow=address is not None)
        for done in _parts_done(ray, scorer, work, plan, todo, pool):
            if done["error"]:
                raise _stopped(str(done["error"]))
            yield done
    finally:
        if is_ours:
            ray.shutdown()


def _check_somebody_listens(address: str | None) -> None:
    """Ask now: Ray tries for minutes, and then says little.

    Raises:
        ClusterError: if nobody answers at the address.
    """
    found = re.fullmatch(r"(?:ray://)?\[?([^/\[\]]+?)\]?:(\d+)", address or "")
    if not found:
        return
    try:
        socket.create_connection((found[1], int(found[2])), _CONNECT_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise ClusterError(
            f"{address}: no cluster can be reached there ({error}); `ray status` on its head says "
            "whether it runs, `ray start --head` names its address"
        ) from error


def _stopped(why: str) -> ClusterError:
    return ClusterError(
        f"{why}. The parts that are done are kept: mend that and start the job again"
    )


def _import_ray() -> Any:  # noqa: ANN401 - a module
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told what runs here
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its remarks are not about the photos
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("cluster", error) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _pool(
    ray: Any,  # noqa: ANN401 - a module
    work: Work,
    actors: int | None,
    parts: int,
    *,
    can_grow: bool,
) -> Any:  # noqa: ANN401 - Ray's
    cores = int(ray.cluster_resources().get("CPU", 1))
    wanted = actors or max(1, cores // work.threads)
    if not can_grow and wanted * work.threads > cores:  # Ray would wait for cores for ever
        raise ConfigError(
            f"{wanted} actors of {work.threads} cores need {wanted * work.threads}, but there are "
            f"{cores}; lower --actors or --cpus"
        )
    return ray.data.ActorPoolStrategy(size=min(wanted, parts))


def _parts_done(
    ray: Any,  # noqa: ANN401 - a module
    scorer: Scorer,
    work: Work,
    plan: Plan,
    todo: Sequence[int],
    pool: Any,  # noqa: ANN401 - Ray's
) -> Iterator[dict[str, Any]]:
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = [{"number": n, "part": json.dumps(asdict(plan.parts[n]))} for n in todo]
    parts = ray.data.from_items(rows, override_num_blocks=len(rows))  # one is tried again alone
    done = parts.map_batches(
        _Actor,
        fn_constructor_args=(scorer, work),
        batch_size=1,
        num_cpus=work.threads,
        compute=pool,
    )
    try:
        yield from done.iter_rows()
    except ray.exceptions.RayError as error:
        raise _stopped(f"Ray: {type(error).__name__}: {error}") from error
