"""Which plans are trained again for the verdict, and what those trainings showed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlsweep.config import ConfirmSettings, Settings
from tlsweep.errors import TlsweepError
from tlsweep.question import Question
from tlsweep.study.ledger import Item, Ledger, Trial, reason_of_failure
from tlsweep.verdict import Confirmed

Identity = tuple[int, int, int, bool]


@dataclass(frozen=True)
class Plan:
    """A plan to confirm: its best setting, and the control names that it answers to.

    candidate: whether it may be recommended.
    """

    facts: dict[str, Any]
    overrides: tuple[str, ...]
    controls: tuple[str, ...] = ()
    candidate: bool = True


def identity(facts: dict[str, Any]) -> Identity:
    """What makes two plans the same plan, whatever they are called."""
    return facts["freeze"], facts["keep"], facts["regrow"], facts["random_weights"]


def candidates(
    trials: Sequence[Trial], settings: ConfirmSettings, question: Question
) -> list[Plan]:
    """The plans to confirm, given the finished trials of the search.

    With ``curve``, the frozen plan of every cut point; the ``top`` best of the others on the select
    split; and the controls, each at the best setting that the search found for it. One plan each.
    """
    ranked = sorted(trials, key=lambda t: -(t.value or 0.0))
    best: dict[Identity, Trial] = {}
    for trial in ranked:
        best.setdefault(identity(trial.user_attrs["facts"]), trial)
    curve = [t for t in best.values() if _on_frozen_curve(t.user_attrs["facts"])]
    curve = curve if settings.curve else []
    chosen = [*[t for t in best.values() if t not in curve][: settings.top], *curve]
    plans = {identity(t.user_attrs["facts"]): _plan(t) for t in chosen}
    for name in settings.controls:
        plan = _control(name, best, question)
        if plan is not None:
            known = plans.get(identity(plan.facts), plan)
            plans[identity(plan.facts)] = replace(known, controls=(*known.controls, name))
    return list(plans.values())


def _on_frozen_curve(facts: dict[str, Any]) -> bool:
    truncated = facts["freeze"] == facts["keep"] == facts["regrow"]
    return truncated and not facts["random_weights"]


def _plan(trial: Trial) -> Plan:
    return Plan(trial.user_attrs["facts"], tuple(trial.user_attrs["overrides"]))


def _control(name: str, best: dict[Identity, Trial], question: Question) -> Plan | None:
    n = question.cuts.n_blocks
    if name == "random_features":
        return _random_features(best)
    wanted = {
        "scratch": (0, 0, n, False),
        "finetune": (0, n, n, False),
        "feature_extractor": (n, n, n, False),
    }[name]
    if wanted in best:
        return _plan(best[wanted])
    # not searched: trained as its config says
    freeze, keep, regrow, random = wanted
    names = [cut.name for cut in question.cuts]
    any_facts = next(iter(best.values())).user_attrs["facts"] if best else {}
    facts = {
        **any_facts, "plan": name, "freeze": freeze, "keep": keep, "regrow": regrow,
        "random_weights": random, "keep_name": names[keep], "freeze_name": names[freeze],
        "regrow_name": names[regrow], "deterministic": False,
    }  # fmt: skip
    return Plan(facts, (f"plan={name}",))


def _random_features(best: dict[Identity, Trial]) -> Plan | None:
    """Random weights where the frozen source's are best: do the weights matter there?"""
    frozen = [
        t
        for t in best.values()
        if _on_frozen_curve(t.user_attrs["facts"]) and t.user_attrs["facts"]["keep"] > 0
    ]
    if not frozen:
        return None
    twin = max(frozen, key=lambda t: t.value or 0.0)
    kept = twin.user_attrs["facts"]
    surveyed = best.get((*identity(kept)[:3], True))
    if surveyed is not None:  # with the best head for random weights
        return replace(_plan(surveyed), candidate=False)
    rest = [o for o in twin.user_attrs["overrides"] if not o.startswith(("plan=", "plan."))]
    overrides = ["plan=random_features", f"plan.keep={kept['keep_name']}", *rest]
    facts = {**kept, "plan": "random_features", "random_weights": True}
    facts |= {"kept_fraction": 0.0, "deterministic": False}
    return Plan(facts, tuple(overrides), candidate=False)


def replicates(plans: Iterable[Plan], settings: Settings) -> list[Item]:
    """One item a plan and seed. The search's own seed is not used again: it chose the plans.

    A plan that no seed changes is trained once.
    """
    first = settings.seed + 1
    return [
        Item.of((*plan.overrides, f"seed={seed}"))
        for plan in plans
        for seed in range(first, first + _trainings(plan, settings))
    ]


def _trainings(plan: Plan, settings: Settings) -> int:
    return 1 if plan.facts.get("deterministic") else settings.sweep.confirm.seeds


def evidence(
    plans: Sequence[Plan],
    searched: Ledger,
    confirmed: Ledger,
    folder: Path,
    settings: Settings,
) -> tuple[list[Confirmed], list[Confirmed]]:
    """The confirmed plans with their hits, and the plans that were only searched.

    folder: where trials keep their hits. A plan is left out if its replicates failed, or all but
    one did: one shows nothing of how much seeds vary.
    """
    finished = {t.user_attrs.get("key"): t for t in confirmed.completed()}
    replicated = []
    for plan in plans:
        runs = [finished[i.key] for i in replicates([plan], settings) if i.key in finished]
        if len(runs) >= min(2, _trainings(plan, settings)):
            hits = [_hits(folder, run) for run in runs]
            replicated.append(
                Confirmed(
                    facts=runs[0].user_attrs["facts"],
                    select_hits=np.stack([h["select"] for h in hits]),
                    report_hits=np.stack([h["report"] for h in hits]),
                    controls=plan.controls,
                    candidate=plan.candidate,
                    overrides=plan.overrides,
                )
            )
    seen = {identity(plan.facts) for plan in plans}
    others = [
        Confirmed(
            facts=trial.user_attrs["facts"],
            select_hits=_hits(folder, trial)["select"][None],
            report_hits=None,
        )
        for trial in searched.completed()
        if identity(trial.user_attrs["facts"]) not in seen
    ]
    return replicated, others


def shortfalls(plans: Sequence[Plan], confirmed: Ledger, settings: Settings) -> list[str]:
    """What was to be confirmed and was not, in a sentence each: it weakens the verdict."""
    finished = {t.user_attrs.get("key") for t in confirmed.completed()}
    reasons = {t.user_attrs.get("key"): reason_of_failure(t) for t in confirmed.ended()}
    said = []
    for plan in plans:
        items = replicates([plan], settings)
        failed = [item for item in items if item.key not in finished]
        if failed:
            what = " and ".join(plan.controls).replace("_", " ") or " ".join(plan.overrides)
            why = sorted({reasons.get(item.key) or "not run" for item in failed})
            said.append(
                f"{what}: {len(failed)} of {len(items)} replicates failed: {'; '.join(why)}"
            )
    measured = {name for plan in plans for name in plan.controls}
    for name in settings.sweep.confirm.controls:
        if name not in measured:
            said.append(f"{name.replace('_', ' ')}: the search finished no plan to compare it with")
    return said


def _hits(folder: Path, trial: Trial) -> dict[str, Any]:
    file = folder / trial.user_attrs["hits"]
    try:
        with np.load(file) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError) as error:
        raise TlsweepError(
            f"{file}: {error}. It holds what trial {trial.number} got right; without it the study"
            " cannot be concluded. Put it back, or ask anew under another name: study=NAME"
        ) from error
