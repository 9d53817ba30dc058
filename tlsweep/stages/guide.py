"""What a survey means to its sweep: trials that are finished already, and where to search on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlsweep.errors import TlsweepError
from tlsweep.extract.activations import USUAL, Variant
from tlsweep.features import rows_digest
from tlsweep.files import write_whole
from tlsweep.stages.contenders import frozen_settings, overrides_of
from tlsweep.stages.session import Session
from tlsweep.stages.sources import StudySource
from tlsweep.study.ledger import Item, Ledger
from tlsweep.study.space import Space, Spaces
from tlsweep.survey.rows import Findings, Frozen, Place
from tlsweep.survey.surveyor import Outcomes, survey
from tlsweep.task import outcome
from tlsweep.task.outcome import Outcome
from tlsweep.terms import VERSION
from tlsweep.trial import known_result, outcomes_folder
from tlsweep.trial.probe import probe_kind

KEEP, TUNED = "plan.keep", "truncate_tuned"


@dataclass(frozen=True)
class Surveyed:
    """What a survey found of one source, and what each cut point answered out of fold."""

    source: StudySource
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


def run_survey(s: Session, source: StudySource) -> Surveyed:
    """Survey a source, and keep what was found; a session that goes on takes that of the first.

    Raises Refusal where ``sweep.minutes`` cannot hold its passes.
    """
    asked = asked_of(s, source)
    surveyed = kept_survey(s, source, asked)
    if surveyed is None:
        chosen = s.settings.sweep
        found = survey(s.inputs(source), chosen.survey, chosen.minutes, s.shown.step)
        surveyed = Surveyed(source, *found)
        keep_survey(s, asked, surveyed)
    return surveyed


def enter_survey(s: Session, ledger: Ledger, surveyed: Surveyed) -> None:
    """Enter the plans of a survey into their study, once: every cut point, and random weights."""
    source = surveyed.source
    for place, point in surveyed.points.items():
        if point.weights == "random" and point.index != surveyed.random_cut:
            continue
        item = Item.of((*source.overrides, *overrides_of(point)))
        if not ledger.knows(item):
            settings = frozen_settings(source, point)
            answered, file = surveyed.outcomes[place], _outcome_file(s, source, place).name
            known = known_result(settings, source.question, s.record, s.parent_run, answered, file)
            ledger.add_finished(item, *known)


def asked_of(s: Session, source: StudySource) -> str:
    """A digest of all that a survey's findings depend on: features, folds, heads."""
    survey, train = s.settings.sweep.survey, s.settings.train
    variants = [USUAL, *([Variant(weights=s.settings.seed)] if survey.random else [])]
    features = [digest for variant in variants for digest in s.inputs(source).digests(variant)]
    folds = [rows_digest(fold) for fold in s.question.partition.folds]
    kind = probe_kind(s.question.task, train)
    what = [*features, *folds, survey.model_dump_json(), kind, train.class_weights, VERSION]
    return hashlib.sha256("\n".join(what).encode()).hexdigest()


def _outcome_file(s: Session, source: StudySource, place: Place) -> Path:
    weights, index = place
    return outcomes_folder(s.folder) / f"{_called('survey', source)}-{weights}-{index:03d}.npz"


def _called(name: str, source: StudySource) -> str:
    """A file's name: with the source's in a study of several."""
    return f"{name}-{source.file_name}" if source.file_name else name


def keep_survey(s: Session, asked: str, surveyed: Surveyed) -> None:
    """Write it for the next session. asked: the digest of what it answers."""
    for place, answered in surveyed.outcomes.items():
        outcome.write(_outcome_file(s, surveyed.source, place), answered, s.question.task)
    # last: with it all of them are there
    content = {"asked": asked, **surveyed.findings.as_json()}
    write_whole(survey_file(s, surveyed.source), (json.dumps(content, indent=1) + "\n").encode())


def survey_file(s: Session, source: StudySource) -> Path:
    """Where what was found of a source is kept: ``survey.json``."""
    return s.folder / f"{_called('survey', source)}.json"


def kept_survey(s: Session, source: StudySource, asked: str) -> Surveyed | None:
    """What was found before; None where nothing was, or something else was asked."""
    try:
        content = json.loads(survey_file(s, source).read_text())
        if content.pop("asked") != asked:
            return None
        findings = Findings.from_json(content)
        places = [(point.weights, point.index) for point in findings.frozen]
        answered = {
            place: _of_partition(s, outcome.read(_outcome_file(s, source, place), s.question.task))
            for place in places
        }
        return Surveyed(source, findings, answered)
    except (OSError, ValueError, KeyError, TypeError, TlsweepError):
        return None  # not written yet, or by somebody else: survey anew


def _of_partition(s: Session, answered: Outcome) -> Outcome:
    """The outcome, if it is of these folds. Raises ValueError if it is not."""
    sizes = {k: len(fold) for k, fold in enumerate(s.question.partition.folds)}
    if {k: len(z) for k, z in answered.held_out.items()} != sizes:
        raise ValueError("an outcome of other folds")
    return answered


def trained_sources(ledger: Ledger, surveys: Sequence[Surveyed], most: int) -> list[str]:
    """What the sources are called of which plans are trained: the best ones of the survey.

    A source is as good as its best cut point, frozen. A study goes on with those it began with.
    """
    if ledger.recall("trained_sources") is None:
        best = dict.fromkeys(one.source.called for one, _ in _ranking(surveys))
        ledger.remember("trained_sources", list(best)[:most])
    return list(ledger.recall("trained_sources"))


def _ranking(surveys: Sequence[Surveyed]) -> list[tuple[Surveyed, Frozen]]:
    """The cut points of all sources, best out of fold first; of equals the lower loss."""
    pairs = [(one, point) for one in surveys for point in one.findings.curve().values()]
    return sorted(pairs, key=lambda pair: (-pair[1].score, pair[1].loss, pair[1].index))


def guide(
    s: Session, ledger: Ledger, surveys: Sequence[Surveyed], where: Mapping[str, Space]
) -> dict[str, Space]:
    """Let the surveys' ranking say where tuned plans are looked for.

    The search keeps the ``sweep.explore`` share of the cut points that score best frozen, and the
    last one of each source, and first tries the two best. Where sweep.params names some cut points,
    rather than all, those are all searched. where: the space of each source that is searched.
    """
    ranking = _ranking(surveys)
    most = math.ceil(s.settings.sweep.explore * len(ranking))
    if ledger.recall("open") is None:  # a search goes on among the cut points it began with
        ledger.remember("open", _open(surveys, ranking[:most]))
    narrowed = {}
    for one in surveys:
        name, space = one.source.called, where[one.source.called]
        if set(one.source.question.searched(KEEP)) <= set(space.listed(KEEP)):
            space = space.narrowed(KEEP, ledger.recall("open")[name])
        narrowed[name] = space
    _hint(ledger, ranking, spaces_of(s, narrowed), narrowed)
    return narrowed


def _open(
    surveys: Sequence[Surveyed], best: Sequence[tuple[Surveyed, Frozen]]
) -> dict[str, list[str]]:
    """The cut points of each source that stay open to the search."""
    found = {}
    for one in surveys:
        cuts = one.source.question.cuts
        mine = {point.index for other, point in best if other is one} | {cuts.n_blocks}
        found[one.source.called] = [cuts.names[i] for i in sorted(mine)]
    return found


def _hint(
    ledger: Ledger,
    ranking: Sequence[tuple[Surveyed, Frozen]],
    drawn: Space | Spaces,
    where: Mapping[str, Space],
) -> None:
    """Let the search try the two best cut points first."""
    points = []
    for one, point in ranking:
        space = where[one.source.called]
        if point.index > 0 and point.cut in space.listed(KEEP):
            tuned = {"plan": TUNED} if TUNED in space.listed("plan") else {}
            values = {KEEP: point.cut, **tuned}
            if isinstance(drawn, Spaces):
                values = drawn.parameters(one.source.called, values)
            points.append(values)
    ledger.hint(points[:2])


def spaces_of(s: Session, where: Mapping[str, Space]) -> Space | Spaces:
    """What the sampler draws from. where: the space of each source that is searched."""
    if not s.several:
        return where[s.sources[0].called]
    return Spaces(where, {one.called: one.overrides for one in s.sources})
