"""What a survey means to its sweep: trials that are finished already, and where to search on."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from tlsweep.config.read import read
from tlsweep.errors import TlsweepError
from tlsweep.extract.activations import USUAL, Variant
from tlsweep.features import rows_digest
from tlsweep.files import write_whole
from tlsweep.stages.contenders import overrides_of
from tlsweep.stages.first_trials import inherited
from tlsweep.stages.session import Session
from tlsweep.study.ledger import Item, Ledger
from tlsweep.study.space import Space
from tlsweep.survey.rows import Findings, Frozen, Place
from tlsweep.survey.surveyor import Outcomes, survey
from tlsweep.task import outcome
from tlsweep.task.outcome import Outcome
from tlsweep.terms import VERSION, Stage
from tlsweep.trial import known_result, outcomes_folder
from tlsweep.trial.probe import probe_kind

SURVEY_FILE = "survey.json"
KEEP, TUNED = "plan.keep", "truncate_tuned"


@dataclass(frozen=True)
class Surveyed:
    """A survey's findings, and what each cut point answered out of fold."""

    findings: Findings
    outcomes: Outcomes

    @property
    def points(self) -> dict[Place, Frozen]:
        """Every cut point that was answered, by its weights and index."""
        return {(point.weights, point.index): point for point in self.findings.frozen}

    @property
    def random_cut(self) -> int | None:
        """Where random weights did best, above the raw input; None without random weights."""
        return next((i for i in self.findings.ranking("random") if i > 0), None)


def run_survey(s: Session) -> Surveyed:
    """Survey, and write survey.json; a session that goes on takes the survey of the first.

    Raises Refusal where ``sweep.minutes`` cannot hold its passes.
    """
    asked = asked_of(s)
    surveyed = kept_survey(s, asked)
    if surveyed is None:
        chosen = s.settings.sweep
        surveyed = Surveyed(*survey(s.inputs, chosen.survey, chosen.minutes, s.shown.step))
        keep_survey(s, asked, surveyed)
    return surveyed


def enter_survey(s: Session, ledger: Ledger, surveyed: Surveyed) -> None:
    """Enter the plans of a survey into their study, once: every cut point, and random weights."""
    for place, point in surveyed.points.items():
        if point.weights == "random" and point.index != surveyed.random_cut:
            continue
        item = Item.of(overrides_of(point))
        if not ledger.knows(item):
            lines = [*inherited(s.plain, item.overrides), *item.overrides]
            lines += [f"stage={Stage.SURVEY}", f"study={s.settings.study_name}"]
            settings = read(s.bench.compose(lines))
            answered, file = surveyed.outcomes[place], _outcome_file(s, place).name
            known = known_result(settings, s.question, s.record, s.parent_run, answered, file)
            ledger.add_finished(item, *known)


def asked_of(s: Session) -> str:
    """A digest of all that a survey's findings depend on: features, folds, heads."""
    survey, train = s.settings.sweep.survey, s.settings.train
    variants = [USUAL, *([Variant(weights=s.settings.seed)] if survey.random else [])]
    features = [digest for variant in variants for digest in s.inputs.digests(variant)]
    folds = [rows_digest(fold) for fold in s.question.partition.folds]
    kind = probe_kind(s.question.task, train)
    what = [*features, *folds, survey.model_dump_json(), kind, VERSION]
    return hashlib.sha256("\n".join(what).encode()).hexdigest()


def _outcome_file(s: Session, place: Place) -> Path:
    weights, index = place
    return outcomes_folder(s.folder) / f"survey-{weights}-{index:03d}.npz"


def keep_survey(s: Session, asked: str, surveyed: Surveyed) -> None:
    """Write it for the next session. asked: the digest of what it answers."""
    for place, answered in surveyed.outcomes.items():
        outcome.write(_outcome_file(s, place), answered, s.question.task)
    # last: with it all of them are there
    content = {"asked": asked, **surveyed.findings.as_json()}
    write_whole(s.folder / SURVEY_FILE, (json.dumps(content, indent=1) + "\n").encode())


def kept_survey(s: Session, asked: str) -> Surveyed | None:
    """What was found before; None where nothing was, or something else was asked."""
    try:
        content = json.loads((s.folder / SURVEY_FILE).read_text())
        if content.pop("asked") != asked:
            return None
        findings = Findings.from_json(content)
        places = [(point.weights, point.index) for point in findings.frozen]
        answered = {
            place: _of_partition(s, outcome.read(_outcome_file(s, place), s.question.task))
            for place in places
        }
        return Surveyed(findings, answered)
    except (OSError, ValueError, KeyError, TypeError, TlsweepError):
        return None  # not written yet, or by somebody else: survey anew


def _of_partition(s: Session, answered: Outcome) -> Outcome:
    """The outcome, if it is of these folds. Raises ValueError if it is not."""
    sizes = {k: len(fold) for k, fold in enumerate(s.question.partition.folds)}
    if {k: len(z) for k, z in answered.held_out.items()} != sizes:
        raise ValueError("an outcome of other folds")
    return answered


def guide(s: Session, ledger: Ledger, findings: Findings, where: Space) -> Space:
    """Let the survey's ranking say where tuned plans are looked for.

    The search keeps the ``sweep.explore`` share of the cut points that score best frozen, and the
    last one, and first tries the two best. Where sweep.params names some cut points, rather than
    all, those are all searched.
    """
    names, ranking = s.question.cuts.names, findings.ranking()
    most = math.ceil(s.settings.sweep.explore * len(ranking))
    if ledger.recall("open") is None:  # a search goes on among the cut points it began with
        ledger.remember("open", [names[i] for i in {*ranking[:most], s.question.cuts.n_blocks}])
    if set(names) <= set(where.listed(KEEP)):
        where = where.narrowed(KEEP, ledger.recall("open"))
    best = [names[i] for i in ranking if i > 0 and names[i] in where.listed(KEEP)]
    tuned = {"plan": TUNED} if TUNED in where.listed("plan") else {}
    ledger.hint([{KEEP: name, **tuned} for name in best[:2]])
    return where
