"""Gathers what the page shows beside the verdict: from the studies, the survey and the data."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tlsweep.report.answered import answered
from tlsweep.report.figure import words_of
from tlsweep.report.material import (
    Block,
    Command,
    Material,
    Run,
    Training,
)
from tlsweep.report.notes import notes
from tlsweep.stages.contenders import facts_of
from tlsweep.stages.first_trials import inherited
from tlsweep.stages.guide import Surveyed
from tlsweep.stages.session import Session
from tlsweep.study.ledger import Ledger, Trial, reason_of_failure
from tlsweep.study.space import Space
from tlsweep.survey.rows import Findings
from tlsweep.task.outcome import Logits
from tlsweep.terms import NAMED_CODE, BlockState, Split, Stage
from tlsweep.trial import trial_name
from tlsweep.verdict import PlanRow, Verdict

MODEL = "model"  # folder of the study that holds the model to take home
NEAR_END = 0.02  # share of a range's length that counts as its end
Ledgers = Mapping[str, Ledger]  # by the name of their stage


def gather(
    s: Session,
    verdict: Verdict,
    taken_home: Logits,
    surveys: Sequence[Surveyed],
    ledgers: Ledgers,
    where: Mapping[str, Space],
) -> Material:
    """What a page is made of.

    taken_home: what the recommended model answers of the report split, float32 [images, classes];
    surveys: of each source, none without the stage; ledgers: every study, by stage; where: what was
    searched, of each source that was.
    """
    r = verdict.recommended
    source = s.source_of(r.overrides)
    question = source.question
    target, pool = question.target, question.partition.pool
    findings = next((one.findings for one in surveys if one.source is source), None)
    edges = _edges(verdict, findings, where.get(source.called, Space()))
    counts = s.question.task.counts(target.labels[pool])
    labelled = {} if counts is None else dict(zip(target.output_names, counts, strict=True))
    names = question.cuts.names
    look = s.record.where_to_look()
    return Material(
        verdict=verdict,
        asks=s.asks.removesuffix("?"),
        class_names=target.output_names,
        blocks=tuple(
            Block(name, BlockState(state)) for name, state in zip(names[1:], r.states, strict=True)
        ),
        transfer=() if findings is None else findings.transfer,
        answered=answered(question, taken_home),
        trainings=tuple(trainings(verdict, ledgers)),
        runs=tuple(_runs(s, ledgers)),
        train_this=Command("Train just this plan, without a sweep", _line(_this_plan(s, verdict))),
        commands=tuple(_commands(s, verdict, ledgers, look)),
        notes=tuple(notes(verdict, s.said(), labelled, edges)),
        look=look,
        config=s.config,
    )


# ---------------------------------------------------------------------- trainings
def trainings(verdict: Verdict, ledgers: Ledgers) -> list[Training]:
    """The epochs of the recommended plan and of the controls, of all their trainings that had any.

    Final trainings hold nothing out, so what is held out is seen in those that confirmed.
    """
    r = verdict.recommended
    wanted = {tuple(r.overrides): "recommended"}
    for row in verdict.plans:
        if row.controls:
            wanted.setdefault(tuple(row.overrides), _called(row, verdict.measure.things))
    found = []
    for stage in (Stage.FINAL, Stage.CONFIRM):
        for trial in ledgers[stage].completed() if stage in ledgers else []:
            given, history = tuple(trial.user_attrs["overrides"]), trial.user_attrs.get("history")
            for overrides, label in wanted.items():
                if history and len(history) > 1 and given[: len(overrides)] == overrides:
                    facts = facts_of(trial)
                    held_out = facts.fold is not None
                    mine = label == "recommended"
                    found.append(Training(label, facts.seed, mine, held_out, tuple(history)))
    return found


def _called(row: PlanRow, things: str) -> str:
    return " and ".join(words_of(name, things) for name in row.controls)


def _runs(s: Session, ledgers: Ledgers) -> Iterable[Run]:
    for stage in (Stage.SURVEY, Stage.FIRST, Stage.SEARCH, Stage.CONFIRM, Stage.FINAL):
        for trial in ledgers[stage].ended() if stage in ledgers else []:
            yield _run(s, stage, trial)


def _run(s: Session, stage: Stage, trial: Trial) -> Run:
    noted, given = trial.user_attrs, tuple(trial.user_attrs.get("overrides", ()))
    facts, run_id = facts_of(trial) if "facts" in noted else None, noted.get("run_id") or ""
    quoted = stage == Stage.FINAL
    score = noted.get("scores", {}).get(Split.REPORT if quoted else Split.SELECT)
    reason = reason_of_failure(trial)
    status = {"COMPLETE": "finished", "PRUNED": "stopped early"}.get(trial.state.name, "")
    return Run(
        name=" ".join(given) if facts is None else trial_name(stage, facts, given),
        stage=str(stage),
        fold=None if facts is None or stage == Stage.SURVEY else facts.fold,
        seed=None if facts is None else facts.seed,
        score=None if score is None else s.question.task.measure.value(score),
        quoted=quoted,
        seconds=float(noted.get("seconds", 0.0)),
        status=status if reason is None else f"failed: {reason}",
        run_id=run_id,
        link=s.record.link(run_id) if run_id else "",
    )


# ---------------------------------------------------------------------- what comes next
_NOT_OF_ONE_PLAN = ("sweep", "study=", "hydra.", "target.shift")


def _this_plan(s: Session, verdict: Verdict) -> list[str]:
    """Overrides that train just the recommended plan."""
    given = inherited(s.plain, verdict.recommended.overrides)
    ours = [o for o in given if not o.lstrip("+~").startswith(_NOT_OF_ONE_PLAN)]
    # a config of one's own may ask for it, too
    alone = ["target.shift=null"] if s.settings.target.shift else []
    return [*s.bench.own_configs, *ours, *alone, *verdict.recommended.overrides]


def _line(overrides: Sequence[str], *words: str) -> str:
    return " ".join(["python -m tlsweep", *words, *(shlex.quote(o) for o in overrides)])


def _commands(s: Session, verdict: Verdict, ledgers: Ledgers, look: str) -> list[Command]:
    """At most three, the most useful first."""
    found = []
    if (model := s.folder / MODEL).is_dir():
        place = [f"model={_near(model)}"]
        found += _taken(s.question.task.things, place)
    if run_id := _run_id(verdict, ledgers):
        here = [o for o in s.plain if o.startswith(("output_dir=", "record."))]
        line = _line([f"run={run_id}", *s.bench.own_configs, *here], "reproduce")
        found.append(Command("Run it again and compare every number", line))
    if look and not look.startswith("http"):
        found.append(Command("See every training in MLflow", look))
    found.append(_more(s))
    return [replace(one, line=_named(s, one.line)) for one in found[:3]]


def _named(s: Session, line: str) -> str:
    """A command that names the user's own code, where it needs some and does not."""
    build = getattr(s.settings.source, "build", None)
    needs = build is not None and line.startswith("python -m tlsweep")
    return f"{NAMED_CODE}={build} {line}" if needs and "source.build=" not in line else line


def _taken(things: str, place: Sequence[str]) -> list[Command]:
    """How a model folder is used."""
    given = "IMAGE_OR_FOLDER" if things == "images" else '"A TEXT" TABLE_OF_TEXTS'
    return [
        Command(f"Ask it about {things} of your own", f"{_line(place, 'predict')} {given}"),
        Command("Take the model elsewhere", _line([*place, "format=onnx"], "export")),
    ]


def _more(s: Session) -> Command:
    """The sweep with a stage or with time that it had not."""
    chosen, plain = s.settings.sweep, [*s.bench.own_configs, *s.plain]
    if "search" not in chosen.stages:
        rest = [o for o in plain if not o.startswith("sweep.stages=")]
        return Command("Try trained plans too", _line(rest, "-m"))
    rest = [o for o in plain if not o.startswith("sweep.minutes=")]
    longer = [] if chosen.minutes is None else [f"sweep.minutes={2 * chosen.minutes:g}"]
    return Command("Go on searching, with twice the time", _line([*rest, *longer], "-m"))


def _run_id(verdict: Verdict, ledgers: Ledgers) -> str | None:
    """The run of the first final training; of a frozen plan, that of its heads out of fold."""
    wanted = tuple(verdict.recommended.overrides)
    for stage in (Stage.FINAL, Stage.SURVEY):
        for trial in ledgers[stage].completed():
            if tuple(trial.user_attrs["overrides"])[: len(wanted)] == wanted:
                return trial.user_attrs.get("run_id")
    return None


def _near(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _edges(
    verdict: Verdict, findings: Findings | None, where: Space
) -> list[tuple[str, float, tuple[float, float]]]:
    """Settings of the recommended plan whose best value lies at an end of what was tried."""
    r, found = verdict.recommended, []
    if r.probe_penalty is not None and findings is not None:
        point = findings.curve().get(r.keep)
        if point is not None and point.edge:
            tried = [row.regularisation for row in findings.rows]
            found.append(("train.probe_penalty", r.probe_penalty, (min(tried), max(tried))))
    if r.probe_penalty is None:
        for key, value in (("train.lr", r.lr), ("train.lr_ratio", r.lr_ratio)):
            ends = where.ends(key)
            if ends is not None and at_end(value, *ends):
                found.append((key, value, ends))
    return found


def at_end(value: float, low: float, high: float) -> bool:
    """Whether a value lies at an end of its range, beyond which a better one may lie."""
    if low > 0:  # rates are looked for by their logarithm
        value, low, high = math.log(value), math.log(low), math.log(high)
    near = NEAR_END * (high - low)
    return value <= low + near or value >= high - near


# ---------------------------------------------------------------------- what the record is told
def tell_record(
    s: Session, material: Material, surveys: Sequence[Surveyed], files: Sequence[Path]
) -> None:
    """Close the sweep's own run with its answer: the same sentence, scores, curve and files."""
    verdict, r = material.verdict, material.verdict.recommended
    tags = {
        "recommended.plan": r.plan,
        "recommended.keep": r.keep_name,
        "recommended.kept_blocks": f"{r.kept_blocks} of {r.n_blocks}",
        "recommended.score": f"{verdict.score:.4f}",
        "recommended.interval": " to ".join(f"{x:.4f}" for x in verdict.interval),
        "recommended.overrides": " ".join(r.overrides),
        "recommended.train": material.train_this.line,
    }
    curves: dict[str, dict[int, float]] = {}
    for p in verdict.curve:
        if p.state == "frozen":
            curves.setdefault(_curve(s, "report", p.source), {})[p.index] = p.score
    value = verdict.measure.value
    for one in surveys:
        out_of_fold = {i: value(point.score) for i, point in sorted(one.findings.curve().items())}
        curves[_curve(s, "out_of_fold", one.source.called)] = out_of_fold
    if verdict.smaller:
        pools = {one.pool_images: one.score for one in (*verdict.smaller, verdict)}
        curves["report_by_pool"] = pools
    careful = "".join(f"\n- {text}" for text in material.notes)
    words = f"{verdict.sentence}\n{careful}" if careful else verdict.sentence
    s.record.tell_verdict(s.parent_run, words, tags, curves)
    s.record.keep_files(s.parent_run, list(files))
    scores = {
        "report_score": verdict.score,
        "report_low": verdict.interval[0],
        "report_high": verdict.interval[1],
        "seconds": verdict.seconds,
        **{f"report_{one.name}": one.value for one in verdict.beside},
        **{f"shifted_{_file_name(one.name)}": one.recommended.score for one in verdict.shifts},
    }
    s.record.end_sweep(s.parent_run, "finished", scores)


def _file_name(name: str) -> str:
    """A name of a folder as a record takes it."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)


def _curve(s: Session, where: str, source: str) -> str:
    """The name of a curve in the record: with the source's in a study of several."""
    file_name = next((one.file_name for one in s.sources if one.called == source), "")
    return f"frozen_curve_{where}{f'.{file_name}' if file_name else ''}"
