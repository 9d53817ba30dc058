"""Tables and the verdict on the terminal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tlsweep.question import Question
from tlsweep.report.figure import words_of
from tlsweep.report.material import Material
from tlsweep.task import Unit, outcome
from tlsweep.terms import BlockState
from tlsweep.verdict import ShiftedAnswer, Told, Verdict

if TYPE_CHECKING:
    from tlsweep.trial import Resolved


class TrialLike(Protocol):
    """What a table needs of a trial."""

    @property
    def number(self) -> int:
        """Its number in the study."""

    @property
    def user_attrs(self) -> dict[str, Any]:
        """Its facts."""


def with_interval(score: float, interval: Sequence[float], unit: Unit) -> str:
    """``95.2 %  (93.5 to 96.6)``."""
    return f"{unit.written(score)}  ({unit.number(interval[0])} to {unit.number(interval[1])})"


def verdict_box(material: Material) -> RenderableType:
    """The verdict in a few lines."""
    verdict, r = material.verdict, material.verdict.recommended
    unit = verdict.measure.unit
    rows = Table("", "", box=None, show_header=False, pad_edge=False)
    each = verdict.best_of_each()
    several = len(each) > 1
    rows.add_row("recommended", " ".join(r.overrides))
    rows.add_row("", with_interval(verdict.score, verdict.interval, unit) + seeds_words(verdict))
    rows.add_row(
        "kept of the source",
        f"{r.kept_blocks} of {r.n_blocks} blocks, {r.kept_parameters:,} parameters",
    )
    if r.augmentation != "none":
        rows.add_row("augmentation", Text(r.augmentation))
    if draws := draws_words(verdict):
        rows.add_row("other draws", draws)
    best = verdict.best
    if best.overrides != r.overrides and best.report is not None:
        score = with_interval(best.report.score, best.report.interval, unit)
        whose = f"{best.source} " if several else ""
        rows.add_row("best", f"{score}  {whose}{plan_words(best.overrides)}")
    for row, chance in each if several else ():
        held_out = f"{unit.written(row.out_of_fold)} held out, {plan_words(row.overrides)}"
        rows.add_row(row.source, f"{held_out}; {chance:.0%} to hold the best plan")
    for name, words in _otherwise(verdict):
        rows.add_row(name, words)
    for name, control in verdict.controls.items():
        score = with_interval(control["score"], control["interval"], unit)
        cut = f"  up to {control['keep_name']}" if control["random_weights"] else ""
        bound = "" if control["settled"] else "  (still improving)"
        rows.add_row(words_of(name, verdict.measure.things), score + cut + bound)
    for words in mixed_words(verdict):
        rows.add_row("all cut points at once", words)
    rows.add_row(verdict.measure.blind, unit.written(verdict.majority))
    for note in material.notes:
        rows.add_row("careful", Text(note))
    said = Group(Text(verdict.sentence + "\n"), rows)
    return Panel(said, title=f"verdict: {verdict.study}")


def mixed_words(verdict: Verdict) -> list[str]:
    """What heads on all cut points at once scored, of each source."""
    several, unit = len(verdict.sources) > 1, verdict.measure.unit
    return [
        with_interval(mix["score"], mix["interval"], unit)
        + (f"  {mix['source']}, the whole network" if several else "  the whole network")
        for mix in verdict.mixes
    ]


def _otherwise(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """The answers with fewer labels, and on other examples: what it is called, and the answer."""
    unit, things = verdict.measure.unit, verdict.measure.things
    for one in verdict.smaller:
        own = with_interval(one.score, one.interval, unit), plan_words(one.recommended.overrides)
        yield f"with {one.pool_images} {things}", "  ".join(own)
    for shift in verdict.shifts:
        yield f"with {shift.name}", shift_words(shift, verdict)


def seeds_words(verdict: Verdict) -> str:
    """What the other seeds of a trained plan scored; nothing where no seed changes it."""
    seeds = verdict.seed_scores
    if len(seeds) == 1:
        return ""
    number = verdict.measure.unit.number
    mean, low, high = number(verdict.mean_score), number(min(seeds)), number(max(seeds))
    return f"  {len(seeds)} trainings: mean {mean}, {low} to {high}"


def shift_words(shift: ShiftedAnswer, verdict: Verdict) -> str:
    """What the recommended plan scores on shifted examples, and what another one, if better."""
    unit = verdict.measure.unit
    whose = f"{shift.source} " if len(verdict.sources) > 1 else ""
    own = with_interval(shift.recommended.score, shift.recommended.interval, unit)
    if not shift.better:
        return own
    other, gain = unit.written(shift.other.score), shift.gain
    apart = f"+{unit.number(gain.score)} ({unit.number(gain.low)} to {unit.number(gain.high)})"
    return f"{own}; better: {whose}{plan_words(shift.overrides)}, {other}, {apart}"


def draws_words(verdict: Verdict) -> str:
    """What the plan scored on other draws of the pool; nothing where none were asked for."""
    scores, number = verdict.draw_scores, verdict.measure.unit.number
    if not scores:
        return ""
    mean, low, high = number(sum(scores) / len(scores)), number(min(scores)), number(max(scores))
    return f"{len(scores)} pools: mean {mean}, {low} to {high}"


def effort_words(verdict: Verdict) -> str:
    """How many trials each family of trained plans got: ``5 trials: 3 scratch, 2 all blocks``."""
    each = ", ".join(f"{count} {family}" for family, count in verdict.effort.items())
    return f"{verdict.n_trials} trials" + (f": {each}" if each else "")


def where_next(material: Material, files: Sequence[Path]) -> str:
    """What the verdict took, where to look, what to do next. Not to be wrapped: it is copied."""
    verdict = material.verdict
    lines = ["", f"{effort_words(verdict)}; {verdict.seconds:.0f} s"]
    lines += [f"report   {_short(file)}" for file in files if file.suffix == ".html"]
    if material.look and material.look not in [command.line for command in material.commands]:
        lines.append(f"mlflow   {material.look}")
    for command in material.commands:
        lines += ["", f"{command.purpose}:", f"  {command.line}"]
    return "\n".join(lines)


def plan_words(overrides: Sequence[str]) -> str:
    """Of a plan's overrides those that name it: ``plan=truncate plan.keep=block3``."""
    return " ".join(o for o in overrides if o.startswith(("plan=", "plan.")))


def grid_table(trials: Sequence[TrialLike], outcomes: Path, question: Question) -> RenderableType:
    """The trials of a grid with their scores on what their fold holds out."""
    table, measure = Table(title="held-out examples", title_justify="left"), question.task.measure
    for name in ("trial", "overrides", measure.words, "95 % interval", "seconds"):
        table.add_column(name, justify="left" if name == "overrides" else "right")
    for trial in trials:
        facts = trial.user_attrs
        row = [str(trial.number), " ".join(facts.get("overrides", ()))]
        if facts.get("scores"):
            own = Told(measure).score(_scores(outcomes / facts["outcome"], question)[None])
            interval = f"{measure.unit.number(own.low)} to {measure.unit.number(own.high)}"
            row += [measure.unit.written(own.score), interval, f"{facts['seconds']:.1f}"]
        elif "reason" in facts:
            row += ["failed", str(facts["reason"])[:60], ""]
        else:  # nothing was held out, or a pruner gave it up
            row += ["-", "", f"{facts.get('seconds', 0.0):.1f}"]
        table.add_row(*row)
    return table


def _scores(file: Path, question: Question) -> np.ndarray[Any, np.dtype[np.float64]]:
    folds, labels = question.partition.folds, question.target.labels
    held_out = outcome.read(file, question.task).held_out.items()
    return np.concatenate([question.task.example_scores(z, labels[folds[k]]) for k, z in held_out])


def cuts_table(title: str, rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The cut points of a source with the cost of what is before each."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("index", justify="right", no_wrap=True)
    table.add_column("name, other names", overflow="fold")  # what people write: never cut short
    for name in ("shape", "parameters", "MFLOPs", "kB"):
        table.add_column(name, justify="right", no_wrap=True)
    only = ["(prefix only)"]
    for row in rows:
        table.add_row(
            str(row["index"]),
            "\n  ".join([row["name"], *row["aliases"], *only[: row["prefix_only"]]]),
            "x".join(str(n) for n in row["shape"]),
            f"{row['parameters']:,}",
            f"{row['flops'] / 1e6:,.1f}",
            f"{row['activation_bytes'] / 1e3:,.0f}",
        )
    return table


def plan_table(trial: Resolved) -> RenderableType:
    """What a plan does with each block, before it trains: state, parameters, output shape."""
    question, plan = trial.question, trial.plan
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("block", overflow="fold")
    table.add_column("state", no_wrap=True)
    for name in ("parameters", "trained", "output"):
        table.add_column(name, justify="right", no_wrap=True)
    costs, names = question.costs, question.cuts.names
    for state, run in itertools.groupby(range(plan.n_blocks), key=plan.states.__getitem__):
        blocks = list(run)
        if state == BlockState.DROPPED:
            last = f" to {names[blocks[-1] + 1]}" if len(blocks) > 1 else ""
            table.add_row(f"{names[blocks[0] + 1]}{last}", str(state), "", "", "")
            continue
        for i in blocks:
            whole = costs[i + 1].parameters - costs[i].parameters
            trained = question.layers[i].added(plan.rank) if state == BlockState.ADAPTED else whole
            shape = "x".join(str(n) for n in question.cuts[i + 1].shape)
            told = f"{trained:,}" if i in plan.trained else "0"
            table.add_row(names[i + 1], str(state), f"{whole:,}", told, shape)
    head = question.head(plan, trial.train, trial.seed)
    count = sum(p.numel() for p in head.parameters())
    outputs = str(question.task.n_outputs)
    begun = str(BlockState.TUNED) if head.is_own else "new"
    table.add_row(f"head ({trial.train.head})", begun, f"{count:,}", f"{count:,}", outputs)
    return table


def cache_table(rows: Sequence[Mapping[str, Any]], after: str) -> RenderableType:
    """What the activation store holds, and lines that sum it up."""
    table = Table(title="stored activations", title_justify="left")
    columns = ("source", "target", "images", "cut points", "size", "last used")
    for name in columns:
        right = name in ("images", "cut points", "size")
        table.add_column(name, justify="right" if right else "left")
    for row in rows:
        table.add_row(*(Text(str(row[name])) for name in columns))
    return Group(table, Text(after))


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@dataclass(frozen=True)
class Compared:
    """A number of a run, as it was recorded and as it is now."""

    name: str
    step: int
    recorded: float
    now: float

    @property
    def difference(self) -> float:
        """How far apart they are, infinite where there is none any more."""
        return math.inf if math.isnan(self.now) else abs(self.now - self.recorded)


def reproduced_table(
    name: str, compared: Sequence[Compared], elsewhere: Sequence[str]
) -> RenderableType:
    """Every number of a run that was run again. elsewhere: versions that have changed."""
    table = Table(title=f"run again: {name}", title_justify="left")
    for column in ("number", "epoch", "recorded", "now", "difference"):
        table.add_column(column, justify="left" if column == "number" else "right")
    for c in compared:
        apart = "equal" if c.difference == 0 else f"{c.difference:.2g}"
        table.add_row(c.name, str(c.step or ""), f"{c.recorded:.6g}", f"{c.now:.6g}", apart)
    equal = sum(c.difference == 0 for c in compared)
    lines = [f"{equal} of {len(compared)} numbers are equal to the last digit", *elsewhere]
    return Group(table, Text("\n".join(lines)))
