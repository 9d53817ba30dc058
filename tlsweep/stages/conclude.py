"""The end of a sweep: the choice, the final trainings, and the report split, read at last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import TlsweepError
from tlsweep.question import Question
from tlsweep.stages import final
from tlsweep.stages.budget import CLOSING, SLOWER, Budget
from tlsweep.stages.compare import Compared
from tlsweep.stages.confirm import shortfalls, tried
from tlsweep.stages.contenders import Contender, facts_of
from tlsweep.stages.decided import Decided
from tlsweep.stages.guide import Surveyed
from tlsweep.stages.session import Session
from tlsweep.stages.shifted_sets import ShiftedSet, scores_of
from tlsweep.stages.studies import Studies, read_before
from tlsweep.stages.take_home import network_of
from tlsweep.stages.thaws import never_thawed, otherwise
from tlsweep.study.ledger import Item, Ledger, reason_of_failure
from tlsweep.survey.all_cuts import refit_mix
from tlsweep.survey.surveyor import Refitted, answers, refit
from tlsweep.task.outcome import Logits
from tlsweep.terms import Stage
from tlsweep.verdict import Mixed, Verdict, reach, recommend

NO_SCORE = (
    "it was trained on all labels (sweep.final=all); what is quoted is the same plan, trained on"
    " the pool alone"
)


@dataclass(frozen=True)
class Concluded:
    """A verdict, its recommended plan, and what that plan's model answers of the report split."""

    verdict: Verdict
    chosen: Contender
    answers: Logits


def conclude(
    decided: Decided,
    budget: Budget,
    smaller: Sequence[Decided] = (),
    shifts: Sequence[ShiftedSet] = (),
) -> Concluded:
    """Read the report split, now that all is chosen.

    smaller: the choices of smaller pools; shifts: other examples that are scored beside it.
    """
    s, studies, chosen = decided.s, decided.studies, decided.chosen
    settings, question, known = s.settings, s.question, decided.known
    of_smaller = [conclude(one, budget).verdict for one in smaller]
    said = [*decided.said, *read_before(studies), *never_thawed(studies.searched())]
    if settings.sweep.final == "all":
        said.append(_train_on_all(s, studies, chosen))
    draws, without = _other_draws(s, studies, chosen, budget)
    said += [*without, *otherwise(decided.wanted, studies.confirm, studies.final)]
    heads = _heads(decided)
    logits = _report_logits(decided, heads)
    y, score = question.target.labels[question.partition.report], question.task.example_scores
    scored = [
        t if z is None else replace(t, report_rn=np.stack([score(one, y) for one in z]))
        for (_, t), z in zip(known, logits, strict=True)
    ]
    answers = logits[decided.place]
    assert answers is not None  # else there is no verdict
    shifted, without = scores_of(decided, shifts, heads)
    said += without
    lacking = shortfalls(decided.wanted, studies.confirm, settings, said)
    verdict = reach(
        settings.study_name,
        decided.recommendation,
        scored,
        beside=question.task.beside(answers[0], y),
        margin=settings.sweep.confirm.margin / 100,
        confidence=settings.sweep.confirm.confidence,
        majority=_blind(question),
        pool_images=len(question.partition.pool),
        searched=[facts_of(t) for t in studies.tried()],
        measure=question.task.measure,
        draws=draws,
        seconds=round(budget.spent, 1),
        shortfalls=[*said, *decided.short, *lacking, *_of_smaller(smaller)],
        smaller=of_smaller,
        mixes=_mixes(decided),
        shifts=shifted,
    )
    return Concluded(verdict, chosen, answers[0])


def _mixes(decided: Decided) -> list[Mixed]:
    """The heads on all cut points at once that the surveys found, fitted to the whole pool."""
    s, question = decided.s, decided.s.question
    y, score = question.target.labels[question.partition.report], question.task.example_scores
    return [
        Mixed(
            source=one.source.called,
            features=one.findings.mix.features,
            of=one.findings.mix.of,
            flops=one.source.question.costs[-1].flops,
            out_of_fold_n=np.array(one.findings.mix.scores),
            report_n=score(refit_mix(s.inputs(one.source), one.findings.mix), y),
        )
        for one in decided.surveys
        if one.findings.mix is not None
    ]


def _of_smaller(smaller: Sequence[Decided]) -> list[str]:
    """What was left out of smaller pools, a sentence each."""
    return [
        f"with {len(one.s.question.partition.pool)} labelled {one.s.question.task.things}: {text}"
        for one in smaller
        for text in (*one.said, *one.short)
    ]


def _heads(decided: Decided) -> dict[str, dict[int, Refitted]]:
    """The heads of each source's cut points, fitted to the whole pool."""
    s = decided.s
    return {
        one.source.called: refit(s.inputs(one.source), one.findings.penalties())
        for one in decided.surveys
    }


def _report_logits(
    decided: Decided, heads: Mapping[str, Mapping[int, Refitted]]
) -> list[NDArray[np.float32] | None]:
    """What each plan's final trainings answer of the report split; None for what is not quoted.

    heads: of each source's cut points, fitted to the whole pool.
    """
    s, studies = decided.s, decided.studies
    common = studies.confirm, studies.final, s.question, s.settings
    refits = {
        one.called: answers(s.inputs(one), heads[one.called])
        for one in s.sources
        if one.called in heads
    }

    def logits(c: Contender) -> NDArray[np.float32] | None:
        own = refits.get(s.source_of(c.overrides).called, {})
        return final.report_logits(c, own, *common)

    plans = [c for c, _ in decided.known]
    return [logits(c) if final.refitted(c) or c in decided.quoted else None for c in plans]


def decide(
    s: Session,
    studies: Studies,
    compared: Compared,
    surveys: Sequence[Surveyed],
    said: Sequence[str],
    budget: Budget,
) -> Decided:
    """Choose out of fold, and train what is quoted on the whole pool.

    Where the final training of a chosen plan fails, the next best one stands in its place. said:
    what was left out before, a sentence each.
    """
    contenders = compared.contenders
    seen = [(c, tried(c, studies.confirm, s.question, s.settings)) for c in contenders]
    known = [(c, t) for c, t in seen if t is not None]
    short: list[str] = []
    while not all(t.evidence.control for _, t in known):
        margin = s.settings.sweep.confirm.margin / 100
        decided = recommend([t.evidence for _, t in known], margin)
        wanted = [id(decided.best), id(decided.recommended)]
        quoted = [c for c, t in known if id(t.evidence) in wanted or c.controls]
        late = _train_finally(s, studies, quoted, budget)
        common = studies.confirm, studies.final, s.question, s.settings
        lost = [
            c for c, t in known if id(t.evidence) in wanted and not final.taken_home(c, *common)
        ]
        if not lost:
            short = [*short, *late, *final.failures(quoted, *common)]
            told = [*said, *compared.said]
            return Decided(
                s, studies, surveys, known, decided, quoted, compared.wanted, told, short
            )
        short += final.failures(lost, *common)
        known = [(c, t) for c, t in known if not any(c is one for one in lost)]
    raise TlsweepError(why_nothing(studies.confirm, studies.final))


def write_model_of(s: Session, studies: Studies, chosen: Contender, verdict: Verdict) -> Path:
    """Write the model folder: the recommended plan as its final training left it."""
    from tlsweep.model import write_model

    network, trial = network_of(s, chosen, studies.confirm, studies.final)
    about: dict[str, Any] = {
        "metric": verdict.metric,
        "score": verdict.score,
        "interval": verdict.interval,
        "confidence": verdict.confidence,
        "report_images": verdict.report_images,
        "trained_on_images": verdict.pool_images,
        "seed": trial.seed,
        "overrides": verdict.recommended.overrides,
        "sentence": verdict.sentence,
    }
    if trial.train_on == "all":
        images = verdict.pool_images + verdict.report_images
        about |= {"score": None, "interval": None, "trained_on_images": images}
        about["no_score"] = NO_SCORE
    return write_model(s.folder, trial, network, about)


def _train_on_all(s: Session, studies: Studies, chosen: Contender) -> str:
    """Train the recommended plan once more, on all labels. Returns what its model then lacks."""
    item = final.on_all(chosen, studies.confirm, s.question, s.settings)
    if not chosen.facts.is_deterministic:
        studies.final.run_list([item], s.crew(studies.final, Stage.FINAL))
        if studies.final.of(item) is None:
            return "a model of all labels: its training failed; that of the pool is taken home"
    return f"a score of the model to take home: {NO_SCORE}"


def _other_draws(
    s: Session, studies: Studies, chosen: Contender, budget: Budget
) -> tuple[list[float], list[str]]:
    """Scores of the recommended plan on other draws of the pool, and what was left out."""
    if not (splits := s.settings.sweep.confirm.splits):
        return [], []
    ledger, crew = studies.final, s.crew(studies.final, Stage.FINAL)
    done = ledger.n_counted()
    ledger.on_trial = s.follow("draws  ", splits, lambda: ledger.n_counted() - done)
    return final.train_on_draws(
        chosen,
        studies.confirm,
        ledger,
        s.question,
        s.settings,
        lambda items: ledger.run_list(items, crew),
        lambda: budget.allows("draws", SLOWER * chosen.seconds, CLOSING),
    )


def _train_finally(
    s: Session, studies: Studies, quoted: Sequence[Contender], budget: Budget
) -> list[str]:
    """Train what is quoted on the whole pool. Returns what was left out for want of time."""
    ledger, total = studies.final, s.settings.sweep.confirm.seeds * len(quoted)
    ledger.on_trial = s.follow("final  ", total, lambda: ledger.n_counted())
    crew = s.crew(ledger, Stage.FINAL)

    def run(items: Sequence[Item]) -> None:
        ledger.run_list(items, crew)

    return final.train(
        quoted,
        studies.confirm,
        studies.final,
        s.question,
        s.settings,
        run,
        lambda alive: budget.go_on("final", alive, SLOWER, budget.closing(quoted)),
    )


def _blind(question: Question) -> float:
    """What always giving the answer that suits the pool best scores on the report split."""
    labels, parts, task = question.target.labels, question.partition, question.task
    y = labels[parts.report]
    outputs = np.repeat(task.blind(labels[parts.pool]), len(y), axis=0)
    return float(task.example_scores(outputs, y).mean())


def why_nothing(*ledgers: Ledger) -> str:
    """What to say where all trainings failed."""
    ended = (t for ledger in ledgers for t in ledger.ended())
    reasons = sorted({reason for t in ended if (reason := reason_of_failure(t))})
    if not reasons:
        return (
            "no plan could be confirmed: none that keeps something of the source was trained often"
            " enough. Ask anew with a survey, or with more sweep.minutes and sweep.n_trials, under"
            " another name: study=NAME"
        )
    return (
        f"no plan could be confirmed: all replicates failed. Reasons: {'; '.join(reasons)}."
        " Once they are mended, ask anew under another name: study=NAME"
    )
