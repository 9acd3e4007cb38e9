"""What benchmarks/evidence/measure.py measured, as lines of Markdown tables.

In:   Findings; its dicts go by the models' names, the first of which the page is about.
Out:  the tables of docs/evidence.md, and those of README.md and MODEL_CARD.md: all three pages say
      the same because it is written from one place.
"""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mspt.evaluation.evaluate import Agreement, Estimate, Evaluation, Order
from mspt.evaluation.paired import Comparison
from mspt.synthesis.synthesize import PRISTINE

LAPLACIAN = "variance of Laplacian"
TEST, OUTSIDE, REAL = "test", "outside", "real"  # REAL: photos as people took them
MIRRORED, SHIFTED = "mirrored", "shifted by 1 px"
UNDAMAGED = "undamaged"  # as the pages call what sets call PRISTINE

Lines = Iterator[str]


@dataclass(frozen=True)
class Model:
    """A trained model, as the tables name it."""

    title: str  # such as `base` 6
    side_px: int
    gflops: float
    is_ours: bool  # embedded, or once embedded: a column of the short tables


@dataclass(frozen=True)
class Separation:
    """How a model tells pristine photos from wild ones."""

    auc: Estimate
    mean_pristine: float
    mean_wild: float


@dataclass(frozen=True)
class Moves:
    """How far scores move under a change."""

    images: int
    mean: Estimate
    p95: float


@dataclass(frozen=True)
class Group:
    """People who have something in common: what remains beyond kind and severity."""

    people: int
    images: int
    score: Estimate
    label: Estimate


@dataclass(frozen=True)
class Groups:
    """Groups by name, and the largest difference between two of them."""

    groups: Mapping[str, Group]
    gap: Estimate
    label_gap: Estimate


@dataclass(frozen=True)
class Findings:
    """All that was measured."""

    models: Mapping[str, Model]
    agreement: Mapping[str, Mapping[str, Evaluation]]  # TEST and OUTSIDE, by model
    damage_alone: Mapping[str, Mapping[str, Evaluation]]  # of ours: photos' own faults not counted
    blind: Mapping[str, Sequence[str]]  # tables of benchmarks/blind_grades.py
    damaged: Mapping[str, Sequence[str]]  # tables of benchmarks/damage_grades.py
    leads: Mapping[str, Mapping[str, Comparison]]  # the same, of the first over the others
    peers: Comparison | None  # of MSPT over EdgeNeXt on TEST, both from random weights
    counts: tuple[int, int]  # photos, pristine and wild
    told: Mapping[str, Separation]
    moves: Mapping[str, Mapping[str, Moves]]  # by change, by model
    groups: Mapping[str, Mapping[str, Groups]]  # "tones" and "sources", by model
    labelled: Mapping[str, Agreement]  # with human scores

    @property
    def first(self) -> str:
        """Return the name of the model that the page is about."""
        return next(iter(self.models))

    @property
    def ours(self) -> dict[str, Model]:
        """Return the columns of the short tables."""
        return {name: model for name, model in self.models.items() if model.is_ours}


def page_tables(f: Findings) -> dict[str, list[str]]:
    """Return all parts of docs/evidence.md by name."""
    both = {which: f.agreement[which] for which in (TEST, OUTSIDE)}
    trained = {w: {n: e for n, e in both[w].items() if n in f.ours} for w in both}
    parts = {
        "aims": aims_table(f),
        "test": agreement_table(both[TEST], f.ours),
        "outside": agreement_table(both[OUTSIDE], f.ours),
        "peers": leads_table(f),
        "order": order_table(both),
        "kinds": kinds_table(trained[TEST]),
        "outside-kinds": kinds_table({n: _without_pairs(e) for n, e in trained[OUTSIDE].items()}),
        "wild": wild_table(f),
        "robustness": robustness_table(f),
        "tones": groups_table(f.first, f.groups["tones"][f.first]),
        "sources": groups_table(f.first, f.groups["sources"][f.first]),
    }
    parts |= {f"blind-{which}": iter(lines) for which, lines in f.blind.items()}
    parts |= {f"damaged-{which}": iter(lines) for which, lines in f.damaged.items()}
    if f.labelled:
        parts["labelled"] = labelled_lines(f)
    return {name: list(lines) for name, lines in parts.items()}


def say(found: Estimate, form: str = ".3f") -> str:
    """Return an estimate with its interval, which too few people do not have."""
    if math.isnan(found.low):
        return f"{found.value:{form}} (too few)"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def number(value: float) -> str:
    """Return a number as the short tables have it: .936."""
    return f"{value:.3f}".replace("0.", ".", 1)


def percent(value: float) -> str:
    """Return a share as the short tables have it, without its sign: 96.1, but 100."""
    return f"{100 * value:.1f}".replace("100.0", "100")


def brief(
    found: Estimate, form: Callable[[float], str] = number, *, with_interval: bool = True
) -> str:
    """Return an estimate as the short tables have it."""
    unit = " %" if form is percent else ""
    if not with_interval:
        return form(found.value) + unit
    interval = "" if math.isnan(found.low) else f" [{form(found.low)}, {form(found.high)}]"
    return f"{form(found.value)}{unit}{interval}"


@dataclass(frozen=True)
class Aim:
    """What was aimed at: at least, or below, some value."""

    text: str
    limit: float
    of: Callable[[Findings, str], Estimate | None]  # by model
    below: bool = False
    form: Callable[[float], str] = number

    def say_limit(self) -> str:
        """Return the limit as the table has it."""
        is_share = self.form is percent
        limit = f"{100 * self.limit:g} %" if is_share else f"{self.limit:g}".replace("0.", ".")
        return f"< {limit}" if self.below else limit

    def verdict(self, found: Estimate | None) -> str:
        """Say whether it came, and whether the interval agrees."""
        if not found or math.isnan(found.value):
            return "not measured"
        sign = -1 if self.below else 1
        met = sign * found.value >= sign * self.limit
        ends = [sign * end >= sign * self.limit for end in (found.low, found.high)]
        if met:
            return "met" if all(ends) or math.isnan(found.low) else "met; its interval reaches past"
        return "**missed**, inside the interval" if any(ends) else "**missed**"


def _right(order: Order | None) -> Estimate | None:
    return order.right if order else None


def _behind_first(f: Findings, name: str) -> Estimate | None:
    return f.leads[TEST][name].srcc.gain if name == "fast" else None


def _by_damage(which: str, metric: str) -> Callable[[Findings, str], Estimate | None]:
    def value(f: Findings, name: str) -> Estimate | None:
        found = f.damage_alone.get(which)
        return getattr(found[name].overall, metric) if found else None

    return value


def _moved(change: str) -> Callable[[Findings, str], Estimate | None]:
    return lambda f, name: f.moves[change][name].mean


ALONE = "the same, by labels of degradation alone"
AIMS = (
    Aim("SRCC with labels", 0.94, lambda f, n: f.agreement[TEST][n].overall.srcc),
    Aim(ALONE, 0.94, _by_damage(TEST, "srcc")),
    Aim("PLCC with labels", 0.94, lambda f, n: f.agreement[TEST][n].overall.plcc),
    Aim(ALONE, 0.94, _by_damage(TEST, "plcc")),
    Aim("SRCC with labels, outside set", 0.88, lambda f, n: f.agreement[OUTSIDE][n].overall.srcc),
    Aim(ALONE, 0.88, _by_damage(OUTSIDE, "srcc")),
    Aim(
        "severities in order",
        0.98,
        lambda f, n: _right(f.agreement[TEST][n].severity_order),
        form=percent,
    ),
    Aim(
        "original above its degraded versions",
        0.97,
        lambda f, n: _right(f.agreement[TEST][n].pristine_above_degraded),
        form=percent,
    ),
    Aim(
        "the same, outside set",
        0.97,
        lambda f, n: _right(f.agreement[OUTSIDE][n].pristine_above_degraded),
        form=percent,
    ),
    Aim("undamaged against wild, AUC", 0.88, lambda f, n: f.told[n].auc),
    Aim(f"{MIRRORED}: mean change", 0.01, _moved(MIRRORED), below=True),
    Aim(f"{SHIFTED}: mean change", 0.01, _moved(SHIFTED), below=True),
    Aim(
        "gap between skin-tone bins at equal severity",
        0.05,
        lambda f, n: f.groups["tones"][n].gap,
        below=True,
    ),
    Aim("`fast` below `base`, SRCC with labels", 0.02, _behind_first, below=True),
)


def aims_table(f: Findings) -> Lines:
    """Yield what was aimed at and what came; the verdict is on the first that has a value."""
    yield f"| on `test` people | aim | {' | '.join(m.title for m in f.ours.values())} | |"
    yield f"|---|---|{'---|' * len(f.ours)}---|"
    for aim in AIMS:
        found = {name: aim.of(f, name) for name in f.ours}
        judged = next((name for name, e in found.items() if e), "")
        cells = [
            brief(e, aim.form, with_interval=name == judged) if e else ""
            for name, e in found.items()
        ]
        cells = [aim.text, aim.say_limit(), *cells, aim.verdict(found.get(judged))]
        yield f"| {' | '.join(cells)} |"
    if f.peers:
        text = "MSPT over EdgeNeXt-XXS, same data, both from random weights: SRCC with labels"
        cells = [text, "0", *("" for _ in f.ours), _say_lead(f.peers.srcc.gain)]
        yield f"| {' | '.join(cells)} |"


def _say_lead(gain: Estimate) -> str:
    """Say whether a lead is there, which only its interval can."""
    verdict = "**not shown**"
    if gain.low >= 0:
        verdict = "met at this budget"
    elif gain.high < 0:
        verdict = "**missed**"
    return f"{verdict}: {say(gain, '+.3f')}"


def card_table(f: Findings) -> Lines:
    """Yield the figures of MODEL_CARD.md."""
    yield f"| | {' | '.join(m.title for m in f.ours.values())} |"
    yield f"|---|{'---|' * len(f.ours)}"
    test, outside = f.agreement[TEST], f.agreement[OUTSIDE]
    mine, foreign = test[f.first].overall, outside[f.first].by_source["foreign"]
    many = f"{mine.images:,} images"
    rows: dict[str, Callable[[str], str]] = {
        f"SRCC with labels, {many} of {mine.identities} people": lambda n: brief(
            test[n].overall.srcc
        ),
        f"SRCC with labels, {outside[f.first].overall.images:,} images of the outside set": (
            lambda n: brief(outside[n].overall.srcc)
        ),
        "of these, kinds without a counterpart in training's photo filters "
        f"({foreign.images})": lambda n: brief(outside[n].by_source["foreign"].srcc),
        f"PLCC, {many}, raw": lambda n: brief(test[n].overall.plcc),
        f"RMSE, {many}": lambda n: brief(test[n].overall.rmse),
        "original above its degraded versions": (
            lambda n: _brief_order(test[n].pristine_above_degraded)
        ),
        "severities in order": lambda n: _brief_order(test[n].severity_order),
        "undamaged against wild photos, AUC": lambda n: brief(f.told[n].auc),
        "mirrored, shifted by a pixel: mean change of the score": lambda n: ", ".join(
            number(f.moves[change][n].mean.value) for change in (MIRRORED, SHIFTED)
        ),
    }
    for text, cell in rows.items():
        yield f"| {text} | {' | '.join(cell(name) for name in f.ours)} |"


def readme_table(f: Findings) -> Lines:
    """Yield what README.md tells people to expect of the two embedded models."""
    yield (
        "| model | input | GFLOPs | SRCC with labels | SRCC, outside set "
        "| original above its degraded versions |"
    )
    yield "|---|---|---|---|---|---|"
    for name in ("base", "fast"):
        model, found = f.models[name], f.agreement[TEST][name]
        cells = [f"`{name}`", f"{model.side_px} px", number(model.gflops)]
        cells += [brief(found.overall.srcc), brief(f.agreement[OUTSIDE][name].overall.srcc)]
        yield f"| {' | '.join(cells)} | {_brief_order(found.pristine_above_degraded)} |"


def _brief_order(order: Order | None) -> str:
    return brief(order.right, percent) if order else "-"


def agreement_table(found: Mapping[str, Evaluation], ours: Container[str]) -> Lines:
    """Yield agreement of each model over all, and of ours per source."""
    yield "| model | images | SRCC with labels | PLCC raw | PLCC fitted | KRCC | RMSE raw |"
    yield "|---|---|---|---|---|---|---|"
    for name, evaluation in found.items():
        parts = {"all": evaluation.overall} | (evaluation.by_source if name in ours else {})
        for part, a in parts.items():
            raw = ("-", "-") if name == LAPLACIAN else (say(a.plcc), say(a.rmse))  # no 0..1 scale
            title = UNDAMAGED if part == PRISTINE else part
            cells = [f"{name}, {title}", str(a.images), say(a.srcc), raw[0]]
            cells += [say(a.plcc_fitted), say(a.krcc), raw[1]]
            yield f"| {' | '.join(cells)} |"


def order_table(found: Mapping[str, Mapping[str, Evaluation]]) -> Lines:
    """Yield the shares of pairs in the right order, per set and model."""
    yield "| set | model | original above its degraded versions | severities in order |"
    yield "|---|---|---|---|"
    for which, evaluations in found.items():
        for name, evaluation in evaluations.items():
            above, order = evaluation.pristine_above_degraded, evaluation.severity_order
            cells = [which, name]
            cells += [say(o.right, ".1%") if o else "-" for o in (above, order)]
            yield f"| {' | '.join(cells)} |"


def kinds_table(found: Mapping[str, Evaluation]) -> Lines:
    """Yield SRCC within each kind of damage."""
    yield f"| kind | images | {' | '.join(found)} |"
    yield f"|---|---|{'---|' * len(found)}"
    first = next(iter(found.values()))
    for kind, agreement in first.by_degradation.items():
        cells = [say(f.by_degradation[kind].srcc) for f in found.values()]
        yield f"| {kind} | {agreement.images} | {' | '.join(cells)} |"


def _without_pairs(evaluation: Evaluation) -> Evaluation:
    """Drop the rare pairs of kinds, which have a handful of images each."""
    single = {k: a for k, a in evaluation.by_degradation.items() if "+" not in k}
    return replace(evaluation, by_degradation=single)


def leads_table(f: Findings) -> Lines:
    """Yield each model's distance from the first, paired on the same images."""
    yield f"| set | {f.first} minus | SRCC with labels | PLCC |"
    yield "|---|---|---|---|"
    for which, leads in f.leads.items():
        for name, lead in leads.items():
            cells = [say(d.gain, "+.3f") for d in (lead.srcc, lead.plcc)]
            yield f"| {which} | {name} | {' | '.join(cells)} |"


def wild_table(f: Findings) -> Lines:
    """Yield how well pristine and wild photos are told apart."""
    pristine, wild = f.counts
    yield f"{pristine} undamaged photos, {wild} wild."
    yield ""
    yield "| model | AUC | mean score, undamaged | wild |"
    yield "|---|---|---|---|"
    for name, told in f.told.items():
        yield f"| {name} | {say(told.auc)} | {told.mean_pristine:.3f} | {told.mean_wild:.3f} |"


def robustness_table(f: Findings) -> Lines:
    """Yield how far scores move under changes that people hardly see."""
    images = next(iter(f.moves[MIRRORED].values())).images
    yield f"| change ({images} images) | {' | '.join(f'{m}: mean, 95 %' for m in f.ours)} |"
    yield f"|---|{'---|' * len(f.ours)}"
    for change, moves in f.moves.items():
        cells = [f"{moves[m].mean.value:.4f}, {moves[m].p95:.4f}" for m in f.ours]
        yield f"| {change} | {' | '.join(cells)} |"


def groups_table(name: str, found: Groups) -> Lines:
    """Yield the mean score of each group at equal kind and severity, and the largest gap."""
    yield f"| group | people | images | {name} beyond severity | label beyond severity |"
    yield "|---|---|---|---|---|"
    for title, group in found.groups.items():
        cells = [say(e, "+.3f") for e in (group.score, group.label)]
        yield f"| {title} | {group.people} | {group.images} | {' | '.join(cells)} |"
    yield f"| **largest gap, score** | | | {say(found.gap)} | |"
    yield f"| **largest gap, label** | | | {say(found.label_gap)} | |"


def labelled_lines(f: Findings) -> Lines:
    """Yield the agreement with human scores of whole photos."""
    for name, found in f.labelled.items():
        yield f"- {name}: SRCC {say(found.srcc)}, PLCC {say(found.plcc)} on {found.images} photos"
