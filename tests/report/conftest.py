"""Verdicts as a sweep reaches them, of a small and of a large source, and what a page adds."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from tlsweep.config.read import read, to_yaml
from tlsweep.config.settings import Settings
from tlsweep.facts import Facts
from tlsweep.plan import monotone
from tlsweep.report.material import (
    Answered,
    Block,
    ClassRow,
    Command,
    Confused,
    Material,
    Run,
    Training,
)
from tlsweep.task import Beside, Classes
from tlsweep.verdict import Evidence, Tried, Verdict, cost_of, kind_of, reach, recommend

CONF = (Path(__file__).parent / ".." / ".." / "conf").resolve()
DENSENET = ["input", "features.conv0", "features.norm0", "features.pool0"] + [
    f"features.{kind}{i}" for i in range(1, 5) for kind in ("denseblock", "transition", "norm",
                                                            "pool", "relu")
]  # fmt: skip
SMALL = ["input", *(f"block{i}" for i in range(1, 9))]
POOL, REPORT, FOLDS = 359, 719, 5


class _Tries:
    """Plans over some cut points, each seen as good as it is asked to be."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names, self.rng = names, np.random.default_rng(0)

    def __call__(
        self, kind: str, freeze: int, keep: int, regrow: int, score: float, *,
        controls: tuple[str, ...] = (), random: bool = False, trained: bool = True,
        reported: bool = True, settled: bool = True,
    ) -> Tried:  # fmt: skip
        n, one = len(self.names) - 1, freeze == keep == regrow and not trained
        facts = Facts(
            kind, monotone(freeze, keep, regrow, n, random), tuple(self.names), "net",
            kept_parameters=1200 * keep * keep, trained_parameters=650 + 1200 * (regrow - freeze),
            flops=2_000_000 * regrow, lr=3e-3, lr_ratio=0.3, head="linear",
            probe_penalty=0.01 if one else None, augmentation="none", seed=0, fold=None,
        )  # fmt: skip
        folds = np.arange(FOLDS) if one else np.arange(1, FOLDS)
        place = np.arange(POOL) % FOLDS
        seen = (self.rng.random((len(folds), POOL)) < score).astype(float)
        seen[place[None] != folds[:, None]] = np.nan
        report = (self.rng.random((1 if one else 3, REPORT)) < score).astype(float)
        rate = () if one else ("train.lr=0.003",)
        return Tried(
            facts=facts,
            overrides=(f"plan={kind}", f"plan.keep={self.names[keep]}", *rate),
            controls=controls,
            evidence=Evidence(
                name=f"{kind} {self.names[keep]}",
                scores_rn=seen,
                losses_rn=1.1 - seen,
                fold_r=folds,
                cost=cost_of(facts),
                kind=kind_of(facts),
                control=keep == 0 or random,
                deterministic=facts.is_deterministic,
            ),
            report_rn=report if reported else None,
            settled=settled,
        )


def tries(names: Sequence[str], best_trained: float) -> list[Tried]:
    """A curve that rises and falls, trained plans, and all controls."""
    n, made = len(names) - 1, _Tries(names)
    middle = n // 2
    plans = [
        made("truncate", k, k, k, 0.72 + 0.2 * float(np.sin(np.pi * (k / n) ** 0.8)) ** 0.5,
             controls={0: ("raw_pixels",), n: ("feature_extractor",)}.get(k, ()), trained=False)
        for k in range(n + 1)
    ]  # fmt: skip
    return [
        *plans,
        made("truncate_tuned", 0, middle + 1, middle + 1, best_trained),
        made("truncate_tuned", 0, middle, middle, 0.9, reported=False),
        made("finetune", 0, n, n, 0.94, controls=("finetune",)),
        made("scratch", 0, 0, n, 0.86, controls=("scratch",), settled=False),
        made("random_features", middle, middle, middle, 0.82, controls=("random_features",),
             random=True, trained=False),
    ]  # fmt: skip


@pytest.fixture(scope="session")
def make_verdict() -> Callable[..., Verdict]:
    """A verdict over the cut points named, where a trained plan is as good as is asked."""

    def make(
        names: Sequence[str], study: str = "glyphs_to_digits", best_trained: float = 0.98
    ) -> Verdict:
        plans = tries(names, best_trained)
        choice = recommend([p.evidence for p in plans])
        return reach(study, choice, plans, measure=Classes(10).measure, margin=0.02,
                     beside=[Beside("log_loss", "log loss", 0.123, "0.123 nats")],
                     confidence=0.95, majority=0.1,
                     searched=[p.facts for p in plans], seconds=184.2,
                     pool_images=plans[0].evidence.scores_rn.shape[1])  # fmt: skip

    return make


@pytest.fixture(scope="session")
def small_verdict(make_verdict: Callable[..., Verdict]) -> Verdict:
    """Eight blocks; a trained plan wins."""
    return make_verdict(SMALL)


@pytest.fixture(scope="session")
def large_verdict(make_verdict: Callable[..., Verdict]) -> Verdict:
    """24 cut points with long names."""
    return make_verdict(DENSENET, "densenet121_to_a_folder_of_my_own_images.second_try")


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The default config."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return read(compose("config"))


def epochs(n: int, thaw: int | None, held_out: bool) -> tuple[Mapping[str, float], ...]:
    """A training's epochs: a loss that falls, faster once blocks thaw at the epoch ``thaw``."""
    found = []
    for e in range(1, n + 1):
        told = {"fit_loss": 2 * 0.8**e * (0.7 if thaw and e >= thaw else 1)}
        told["frozen_blocks"] = 5.0 if thaw and e < thaw else 0.0
        if held_out:
            told["select_accuracy"] = 0.97 - 0.5 * 0.75**e
        found.append(told)
    return tuple(found)


def trainings() -> tuple[Training, ...]:
    """Final and confirming trainings of the recommended plan, of scratch and of finetune."""
    return tuple(
        Training(label, seed, label == "recommended", held_out, epochs(12, thaw, held_out))
        for held_out in (False, True)
        for label, thaw in (("recommended", 5), ("from scratch", None), ("train all blocks", None))
        for seed in (0, 1)
    )


def jpeg(grey: int) -> bytes:
    """A small picture."""
    buffer = io.BytesIO()
    Image.new("L", (96, 96), grey).save(buffer, format="JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def make_material(settings: Settings) -> Callable[..., Material]:
    """What a page is made of, around a verdict."""

    def make(verdict: Verdict, classes: int = 4) -> Material:
        r = verdict.recommended
        names = SMALL if r.n_blocks == len(SMALL) - 1 else DENSENET
        plan = monotone(r.freeze, r.keep, r.regrow, r.n_blocks)
        confusion = np.full((classes, classes), 1) + np.diag(np.full(classes, 40))
        rows = tuple(
            ClassRow(f"class {c}", 40 + classes, 20 + c, 41, (0.8, 0.97), "class 0", 1)
            for c in range(classes)
        )
        worst = tuple(
            Confused(n, f"test/ants/{n}.jpg", "class 1", "class 2", 0.99 - n / 10, jpeg(90 * n))
            for n in range(3)
        )
        transfer = [
            {"cut": name, "index": i, "log_me": 0.1 * i, "h_score": 5.0 - i, "cka_below": None,
             "leep": None, "frechet": 10.0 - i} for i, name in enumerate(names)
        ]  # fmt: skip
        run = Run("block5 truncate_tuned lr 0.003 x 0.3 fold 1 seed 1 confirm", "confirm", 1, 1,
                  0.95, False, 3.2, "finished", "a1b2c3d4e5f6", "")  # fmt: skip
        return Material(
            verdict=verdict,
            asks="how much of glyphs (printed capital letters) to keep for digits",
            class_names=tuple(row.name for row in rows),
            blocks=tuple(Block(*b) for b in zip(names[1:], plan.states, strict=True)),
            transfer=tuple(transfer),
            answered=Answered(12, worst, confusion_kk=confusion, classes=rows),
            trainings=trainings(),
            runs=(run,),
            train_this=Command("Train just this plan", f"python -m tlsweep {r.overrides[0]}"),
            commands=(Command("Run it again", "python -m tlsweep reproduce run=a1b2c3d4e5f6"),),
            notes=("Only 20 labelled images chose the plan.",),
            look="mlflow ui --backend-store-uri sqlite:///x.db",
            config=to_yaml(settings),
        )

    return make
