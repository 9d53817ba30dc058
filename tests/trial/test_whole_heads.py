"""A head on unpooled activations: fed whole, alone or above what is trained, refused in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.trial import resolve, run, train_plan
from tlsweep.trial.start import Starts

Make = Callable[..., Settings]
FILLERS = [f"w{i}" for i in range(12)]
WORDS = ["not", "good", *FILLERS]


@pytest.fixture
def ordered(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """A question of texts that all hold the same two words: which of them comes first?"""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(WORDS), 8))
    table = "\n".join(
        " ".join([word, *(f"{x:.4f}" for x in v)]) for word, v in zip(WORDS, vectors, strict=True)
    )
    (tmp_path / "words.txt").write_text(table + "\n")
    rows = ["text\tlabel"]
    for i in range(600):
        two = ("not good", "good not")[i % 2]
        words = [str(w) for w in rng.choice(FILLERS, rng.integers(2, 6))]
        words.insert(int(rng.integers(len(words) + 1)), two)
        rows.append(f"{' '.join(words)}\tc{i % 2}")
    (tmp_path / "texts.tsv").write_text("\n".join(rows) + "\n")
    return (
        "source=word_vectors", f"source.file={tmp_path}/words.txt", "source.length=16",
        "target=text", f"target.file={tmp_path}/texts.tsv", "target.fit_size=400",
        "plan=feature_extractor", f"features.cache_dir={tmp_path}", f"output_dir={tmp_path}",
        "record=none",
    )  # fmt: skip


@pytest.fixture
def asks(ordered: tuple[str, ...]) -> Make:
    from hydra import compose, initialize_config_dir

    from tlsweep.cli import conf_folder
    from tlsweep.config.read import read

    def make(*overrides: str) -> Settings:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return read(compose("config", overrides=[*ordered, *overrides]))

    return make


def test_the_order_of_words_is_seen_by_conv_and_lstm_and_not_by_a_mean(asks: Make) -> None:
    scores = {
        head: run(asks(f"train.head={head}", "train.epochs=20")).scores["select"]
        for head in ("linear", "conv", "lstm")
    }
    assert scores["linear"] < 0.7
    assert scores["conv"] > 0.9
    assert scores["lstm"] > 0.9


def test_attention_is_trained_on_tokens_and_says_what_from(asks: Make) -> None:
    trained = train_plan(resolve(asks("train.head=attention", "train.epochs=1")), None)
    assert trained.start.endswith("takes longer than to compute it: from texts")


def test_such_a_head_alone_is_fed_stored_whole_activations_as_computed_ones(
    settings: Make, tmp_path: Path
) -> None:
    plan = ("plan=truncate", "plan.keep=3", "train.head=conv", "train.epochs=2")
    asked = settings(*plan)
    trial = resolve(asked)
    with closing(Starts(trial, trial.freezing)) as starts:
        fed = starts(3, 0)
    assert fed.entry in (1, 2, 3)
    assert fed.fit.z.ndim == 4
    stored = train_plan(trial, None)
    little = settings(*plan, "features.budget_gb=0.00001", f"features.cache_dir={tmp_path}/other")
    computed = train_plan(resolve(little), None)
    assert "stored in" in stored.start
    assert "no room" in computed.start
    assert stored.logits.keys() == computed.logits.keys()
    for split, logits in stored.logits.items():
        torch.testing.assert_close(
            torch.from_numpy(logits), torch.from_numpy(computed.logits[split]),
            rtol=1e-3, atol=1e-4,
        )  # fmt: skip


def test_a_head_that_cannot_read_what_reaches_it_is_refused_with_the_cut_point(
    settings: Make,
) -> None:
    with pytest.raises(Refusal) as caught:
        resolve(settings("plan=truncate", "plan.keep=conv1", "train.head=lstm"))
    (fault,) = caught.value.faults
    assert fault.value == "train.head=lstm on 24x16x16: maps (cut point conv1)"
