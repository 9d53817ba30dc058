"""What a survey means to its sweep: trials that are finished already, and where to search on."""

from __future__ import annotations

import hashlib
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from tlsweep import __version__, config, inputs
from tlsweep.config import PlanSettings
from tlsweep.files import write_whole
from tlsweep.fixed import inherited
from tlsweep.session import Session
from tlsweep.study.ledger import Item, Ledger
from tlsweep.study.space import Space
from tlsweep.survey.rows import Findings, Row
from tlsweep.surveyor import Hits, survey
from tlsweep.terms import Stage
from tlsweep.trial import describe, known_result
from tlsweep.verdict import Confirmed

SURVEY_FILE = "survey.json"
KEEP, TUNED = "plan.keep", "truncate_tuned"


@dataclass(frozen=True)
class Surveyed:
    """A survey's findings, and what the best head of every cut point got right."""

    findings: Findings
    hits: Hits


def enter_survey(s: Session, ledger: Ledger, room: int) -> Surveyed:
    """Survey, write survey.json, and enter the best plans into the study, once.

    room: how many of them count as trials. A session that goes on takes the survey of the first.
    """
    asked = _asked(s)
    surveyed = _kept(s.folder, asked)
    if surveyed is None:
        surveyed = Surveyed(*survey(s.question, s.settings, s.shown.step))
        _keep(s.folder, asked, surveyed)
    for overrides in _frozen_plans(surveyed.findings, room):
        item = Item.of(overrides)
        if not ledger.knows(item):
            lines = [*inherited(s.plain, overrides), *overrides, f"stage={Stage.SURVEY}"]
            settings = config.read(s.bench.compose([*lines, f"study={s.settings.study_name}"]))
            plan = s.question.plan(settings.plan)
            right = surveyed.hits["random" if plan.random_weights else "source", plan.keep]
            known = known_result(settings, s.question, s.record, s.parent_run, right)
            ledger.add_finished(item, *known)
    return surveyed


def _asked(s: Session) -> str:
    """A digest of all that a survey's findings depend on: features, and the heads on them."""
    survey, train = s.settings.sweep.survey, s.settings.train
    seeds = [inputs.SOURCE, *([s.settings.seed] if survey.random else [])]
    features = [d for seed in seeds for d in inputs.digests(s.question, s.settings, seed)]
    what = [*features, survey.model_dump_json(), train.probe, __version__]
    return hashlib.sha256("\n".join(what).encode()).hexdigest()


def _keep(folder: Path, asked: str, surveyed: Surveyed) -> None:
    hits = {f"{weights} {index}": right for (weights, index), right in surveyed.hits.items()}
    file = io.BytesIO()
    np.savez_compressed(file, asked=np.array(asked), **hits)
    _hits_file(folder).parent.mkdir(exist_ok=True)
    write_whole(_hits_file(folder), file.getvalue())
    content = {"asked": asked, **surveyed.findings.as_json()}
    write_whole(folder / SURVEY_FILE, (json.dumps(content, indent=1) + "\n").encode())


def _kept(folder: Path, asked: str) -> Surveyed | None:
    """What was found before; None where nothing was, or something else was asked."""
    try:
        content = json.loads((folder / SURVEY_FILE).read_text())
        if content.pop("asked") != asked:
            return None
        with _hits_file(folder).open("rb") as file, np.load(file) as arrays:
            if str(arrays["asked"]) != asked:  # two surveys' files, written by turns
                return None
            names = {name: name.split() for name in arrays if name != "asked"}
            hits = {(weights, int(i)): arrays[name] for name, (weights, i) in names.items()}
        return Surveyed(Findings.from_json(content), hits)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        return None  # not written yet, or by somebody else: survey anew


def _hits_file(folder: Path) -> Path:
    return folder / "hits" / "survey.npz"


def frozen_curve(s: Session, surveyed: Surveyed) -> list[Confirmed]:
    """Every cut point, frozen, as the survey scored it: so that a verdict's curve is whole."""
    train = s.settings.train
    curve = []
    for index, row in surveyed.findings.best().items():
        cut, penalty = row.cut, row.regularisation
        plan = PlanSettings(name="truncate", freeze=cut, keep=cut, regrow=cut, weights="source")
        probe = train.model_copy(update={"head": "linear", "probe_penalty": penalty})
        settings = s.settings.model_copy(update={"plan": plan, "train": probe})
        facts = describe(s.question, s.question.plan(plan), settings)
        curve.append(Confirmed(facts, surveyed.hits["source", index][None], None))
    return curve


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


def _frozen_plans(findings: Findings, room: int) -> list[tuple[str, ...]]:
    """The overrides of the surveyed plans that enter the study, best first.

    Random weights where the source's own are best, the last cut point, which is a control, and
    the others with their best heads as far as there is room.
    """
    best, order = findings.best(), findings.ranking()
    last, random = max(order), findings.best("random")
    above_input = [i for i in order if i > 0]
    plans = [_overrides("random_features", random[above_input[0]])] if random else []
    plans = plans[: max(0, room - 1)]
    wanted = list(dict.fromkeys([order[0], last, *order]))[: room - len(plans)]
    return [*(_overrides("truncate", best[i]) for i in order if i in wanted), *plans]


def _overrides(plan: str, row: Row) -> tuple[str, ...]:
    penalty = f"train.probe_penalty={row.regularisation}"
    return f"plan={plan}", f"plan.keep={row.cut}", "train.head=linear", penalty
