"""The plans that a verdict compares: frozen ones of the survey, the best trained ones, controls."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from tlsweep.config.sections import ConfirmSettings
from tlsweep.config.settings import Settings
from tlsweep.facts import Facts
from tlsweep.stages.sources import StudySource
from tlsweep.study.ledger import Trial, seconds_of
from tlsweep.survey.rows import Frozen
from tlsweep.task.outcome import Outcome
from tlsweep.terms import BlockState, Stage
from tlsweep.trial import describe, resolve
from tlsweep.verdict import SEED_SPREAD

Identity = tuple[tuple[str, ...], tuple[BlockState, ...], bool, str]
FAR = 3.0  # standard errors: so far behind, a control cannot win
MOST_VARIANCE = 0.25  # of examples' scores, where it was not noted: half of them right
TRAINED_CONTROLS = ("scratch", "finetune")


@dataclass(frozen=True)
class Contender:
    """A plan with the best setting that was found for it.

    facts: as a trial notes them; overrides: what to write for just this plan; controls: the control
    names that it answers to; candidate: whether it may be recommended; outcome: what it answered
    out of fold, where the survey knows; seconds: that one training of it took, 0 where nothing was
    trained.
    """

    facts: Facts
    overrides: tuple[str, ...]
    controls: tuple[str, ...] = ()
    candidate: bool = True
    outcome: Outcome | None = None
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """The plan and its setting, in one line."""
        return " ".join(self.overrides)

    @property
    def label(self) -> str:
        """The plan in a few words: ``truncate_tuned up to layer3``, and its regions."""
        f = self.facts
        regions = "".join(f", {state} {blocks}" for state, blocks in f.regions.items())
        return f"{f.name} up to {f.keep_name}{regions}"

    @property
    def called(self) -> str:
        """What a reader knows it by: the controls that it answers to, else its plan."""
        own = " and ".join(self.controls).replace("_", " ") or self.label
        return f"{own} of {self.facts.source}" if chosen_source(self.overrides) else own


def identity(facts: Facts, overrides: Sequence[str]) -> Identity:
    """What makes two plans the same plan, whatever they are called.

    overrides: of the trial; among them those that choose its source, in a study of several.
    """
    plan = facts.plan
    return chosen_source(overrides), plan.states, plan.random_weights, facts.head


def chosen_source(overrides: Sequence[str]) -> tuple[str, ...]:
    """Those of a trial's overrides that choose its source: none in a study of one."""
    return tuple(o for o in overrides if o.startswith(("source=", "source.")))


def frozen(
    source: StudySource,
    points: Mapping[tuple[str, int], Frozen],
    outcomes: Mapping[tuple[str, int], Outcome],
    random_cut: int | None,
    *,
    without_input: bool = False,
) -> list[Contender]:
    """Every cut point with the source's weights, and random weights at one: as the survey found.

    points, outcomes: by (weights, index); random_cut: where random weights did best, None without;
    without_input: whether the raw input, of which nothing is a source's, is left to another one.
    """
    last = source.question.cuts.n_blocks
    found = []
    for (weights, index), point in points.items():
        random = weights == "random"
        if (random and index != random_cut) or (without_input and index == 0):
            continue
        names = {0: ("raw_pixels",), last: ("feature_extractor",)}.get(index, ())
        found.append(
            Contender(
                facts=frozen_facts(source, point),
                overrides=(*source.overrides, *overrides_of(point)),
                controls=("random_features",) if random else names,
                candidate=not random and index > 0,
                outcome=outcomes[weights, index],
            )
        )
    return found


def overrides_of(point: Frozen) -> tuple[str, ...]:
    """What to write on the command line for a cut point that is frozen."""
    plan = "random_features" if point.weights == "random" else "truncate"
    penalty = f"train.probe_penalty={point.regularisation}"
    return f"plan={plan}", f"plan.keep={point.cut}", "train.head=linear", penalty


def frozen_settings(source: StudySource, point: Frozen) -> Settings:
    """The settings of a frozen cut point's trial: what ``overrides_of`` writes, without writing."""
    settings = source.settings
    name = "random_features" if point.weights == "random" else "truncate"
    cut = point.cut
    truncated = {"name": name, "freeze": cut, "keep": cut, "regrow": cut, "weights": point.weights}
    regions = dict.fromkeys(settings.plan.regions)
    plan = settings.plan.model_copy(update={**truncated, **regions})
    head = {"head": "linear", "probe_penalty": point.regularisation}
    train = settings.train.model_copy(update=head)
    told = {"stage": Stage.SURVEY, "study": settings.study_name}
    return settings.model_copy(update={"plan": plan, "train": train, **told})


def frozen_facts(source: StudySource, point: Frozen) -> Facts:
    """What a trial of a frozen cut point would note, and what the study calls its source."""
    facts = describe(resolve(frozen_settings(source, point), source.question))
    return replace(facts, source=source.called)


def trained(
    trials: Sequence[Trial],
    chosen: ConfirmSettings,
    images: int,
    without: Collection[str] = (),
    called: Callable[[Sequence[str]], str] | None = None,
) -> list[Contender]:
    """The ``top`` best plans that the search trained and that may win, and the controls among them.

    A plan's best setting is the one that scored best on the fold that the search held out, of
    ``images``, but for those ``without``, by key. One image is no evidence: of settings that differ
    by no more, one that takes less than half of the time stands for the plan. called: what a study
    of several sources calls that of a trial, by its overrides.
    """
    may = [t for t in trials if " ".join(t.user_attrs["overrides"]) not in without]
    settings: dict[Identity, list[Trial]] = {}
    for trial in sorted(may, key=_merit):
        settings.setdefault(_identity(trial), []).append(trial)
    chosen_of = {i: _worth_its_time(some, images) for i, some in settings.items()}
    best = dict(sorted(chosen_of.items(), key=lambda item: _merit(item[1])))
    controls = {i: names for i, t in best.items() if (names := _controls(t, chosen.controls))}
    others = [i for i in best if i not in controls]
    win = [i for i in others if may_win(best[i])][: chosen.top]
    # what keeps nothing of the source is shown, and takes the place of no plan that may win
    shown = [i for i in others if i in win or i in others[: chosen.top]]
    return [
        replace(
            _contender(best[i], called), controls=controls.get(i, ()), candidate=may_win(best[i])
        )
        for i in [*shown, *controls]
    ]


def _identity(trial: Trial) -> Identity:
    return identity(facts_of(trial), trial.user_attrs["overrides"])


@dataclass(frozen=True)
class Lag:
    """Scores on the first fold: the best of all plans, the best of one, the error between them."""

    best: float
    own: float
    error: float

    @property
    def is_far(self) -> bool:
        """Whether the choice of the fold's images can hardly have done it."""
        return self.best - self.own > FAR * self.error

    @property
    def is_far_for_any_seed(self) -> bool:
        """Whether the fold's images and a bad seed together can hardly have done it."""
        return self.best - self.own > FAR * math.hypot(self.error, SEED_SPREAD)


def lag_of(own: Sequence[Trial], trials: Sequence[Trial], images: int) -> Lag:
    """How far a plan lies behind the best one. own: its trials among all; images: of the fold."""
    best, mine = (max(some, key=lambda t: t.value or 0.0) for some in (trials, own))
    variance = sum(trial.user_attrs.get("variance", MOST_VARIANCE) for trial in (best, mine))
    return Lag(best.value or 0.0, mine.value or 0.0, math.sqrt(variance / images))


def _worth_its_time(ranked: Sequence[Trial], images: int) -> Trial:
    """The best setting, or the quickest that is as good but for an image and much quicker."""
    first = ranked[0]
    as_good = [t for t in ranked if (first.value or 0.0) - (t.value or 0.0) < 1.5 / images]
    quickest = min(as_good, key=seconds_of)
    return quickest if seconds_of(quickest) < seconds_of(first) / 2 else first


def _merit(trial: Trial) -> tuple[float, float]:
    return -(trial.value or 0.0), trial.user_attrs.get("losses", {}).get("select", 0.0)


def facts_of(trial: Trial) -> Facts:
    """What a trial noted of itself."""
    return Facts.from_json(trial.user_attrs["facts"])


def _contender(trial: Trial, called: Callable[[Sequence[str]], str] | None) -> Contender:
    overrides, facts = tuple(trial.user_attrs["overrides"]), facts_of(trial)
    if called is not None:
        facts = replace(facts, source=called(overrides))
    return Contender(facts, overrides, seconds=seconds_of(trial))


def may_win(trial: Trial) -> bool:
    """Whether something of the source's weights is kept: else the plan is a control."""
    return facts_of(trial).keeps_something


def _controls(trial: Trial, wanted: Sequence[str]) -> tuple[str, ...]:
    facts = facts_of(trial)
    plan, n = facts.plan, facts.plan.n_blocks
    places = {
        "scratch": (0, 0, n),
        "finetune": (0, n, n),
        "feature_extractor": (n, n, n),
        "raw_pixels": (0, 0, 0),
    }
    mine = plan.freeze, plan.keep, plan.regrow
    if plan.random_weights:
        return ("random_features",) if "random_features" in wanted else ()
    return tuple(name for name in wanted if places.get(name) == mine and plan.is_monotone)


def merged(first: Sequence[Contender], more: Sequence[Contender]) -> list[Contender]:
    """Contenders of both lists, one a plan; what ``first`` knows of a plan counts."""
    known = {identity(c.facts, c.overrides): c for c in (*more, *first)}
    return list(known.values())
