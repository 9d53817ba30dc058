"""Command lines as people and accidents write them: Hydra's grammar, its options, our sub-commands.

Keys and options are those of conf/, some of them misspelt; values are of every kind that the
grammar has, with quotes, escapes and other scripts. Paths are relative: they stay in one folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from omegaconf import OmegaConf

from tlsweep.cli import SUB_COMMANDS
from tlsweep.config.settings import flatten

CONF = (Path(__file__).parents[2] / "conf").resolve()
GROUPS = {
    folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
    for folder in sorted(CONF.iterdir())
    if folder.is_dir()
}
HYDRA = (
    "hydra.job.chdir", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.verbose",
    "hydra.job.name", "hydra.output_subdir", "hydra.searchpath", "hydra.mode", "hydra.job.env_set.X",
    "hydra.sweeper.n_trials", "hydra.launcher", "hydra.nothing", "hydra",
)  # fmt: skip
HYDRA_GROUPS = {
    "hydra/job_logging": ["default", "none", "stdout", "disabled"],
    "hydra/hydra_logging": ["default", "none", "disabled", "hydra_debug"],
    "hydra/launcher": ["basic", "joblib"],
    "hydra/sweeper": ["tlsweep", "basic"],
}


def _keys() -> list[str]:
    found = {"params", "sweep.sampler.n", "sweep.pruner", "trial.number", "sweep.fixed.0.plan"}
    for file in [CONF / "config.yaml", *sorted(CONF.glob("*/*.yaml"))]:
        tree: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        above = {} if file.parent == CONF else {file.parent.name: tree}
        found |= {key for key, _ in flatten(above or tree) if not key.startswith("hydra")}
    return sorted(found)


KEYS = st.sampled_from(_keys())
USUAL = st.sampled_from(
    [
        "seed=3",
        "plan.keep=block3",
        "plan.keep=0.5",
        "train.epochs=2",
        "train.lr=1e-3",
        "study=mine",
        "output_dir=out",
        "record=none",
        "schedule=two_phase",
        "plan=finetune",
        "plan=adapters",
        "fold=1",
        "sweep=random",
        "sweep.n_trials=2",
        "sweep.stages=[survey]",
        "sweep.fixed=[]",
        "features.cache_dir=k",
        "sweep.params.train.lr=interval(1e-4,1e-3)",
        "~sweep.params.train.lr_ratio",
        "seed=1,2",
        "plan.keep=range(1,4)",
        "plan.keep=glob(*)",
        "train.lr=interval(1e-3,1e-2)",
        "target.fit_size=40",
        "sweep.sampler.n_startup_trials=3",
        "sweep.minutes=null",
        "hydra.job.chdir=true",
        "+trial=null",
    ]
)
LETTERS = "abz019_-.:/ ,=+~%#?&;@!*$|<>()[]{}'\"\\\téß漢🙂"
WORDS = st.one_of(
    st.sampled_from(
        [
            "x",
            "all",
            "none",
            "auto",
            "block3",
            "layer3.0",
            "75%",
            "1.10",
            "2024_01",
            "my pets",
            "a.b",
            "..",
            "~",
            "~/x",
            "null",
            "true",
            "nan",
            "inf",
            "-0",
            "1e400",
            "sqlite:///s.db",
            "file:m",
            "a" * 300,
        ]
    ),
    st.text(LETTERS, max_size=8),
)
NUMBERS = st.one_of(
    st.integers(-3, 300).map(str),
    st.floats(allow_nan=True, width=32).map(repr),
    st.sampled_from(["0", "1", "0.5", "1e-3", "1_000", "1e-200", ".5", "5.", "+3"]),
)
QUOTED = st.builds(lambda text, quote: f"{quote}{text}{quote}", WORDS, st.sampled_from("'\""))
POINTED = st.sampled_from(
    ["${seed}", "${nope}", "${plan.keep}", "${oc.env:HOME}", "${oc.env:NOPE}", "a${seed}b", "${", "${}",
     "${study}", "${hydra:job.name}", "${now:%Y}", "${output_dir}/x"]
)  # fmt: skip
OPTIONS = st.sampled_from([option for options in GROUPS.values() for option in options])
ATOMS = st.one_of(NUMBERS, WORDS, QUOTED, OPTIONS, POINTED)


def _call(name: str, arguments: list[str]) -> str:
    return f"{name}({','.join(arguments)})"


def _deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    names = st.sampled_from(["choice", "range", "interval", "glob", "shuffle", "sort", "tag", "int",
                             "float", "str", "bool", "json_str", "extend_list", "nope"])  # fmt: skip
    pairs = st.tuples(st.one_of(KEYS, WORDS), inner)
    return st.one_of(
        st.lists(inner, max_size=3).map(lambda some: f"[{','.join(some)}]"),
        st.lists(pairs, max_size=2).map(lambda d: "{" + ",".join(f"{k}:{v}" for k, v in d) + "}"),
        st.builds(_call, names, st.lists(inner, max_size=3)),
        st.builds(_call, st.sampled_from(["range", "interval"]), st.lists(NUMBERS, max_size=3)),
    )


VALUES = st.one_of(
    ATOMS,
    st.recursive(ATOMS, _deeper, max_leaves=4),
    st.lists(ATOMS, min_size=2, max_size=3).map(",".join),
    st.sampled_from(["", "glob(*)", "glob([b*],exclude=*1)", "choice(1,2)", "range(0,3)", "range(3)",
                     "range(0,1,0)", "interval(1e-4,1e-2)", "tag(log, interval(1e-4,1e-2))", "a,b",
                     "shuffle(range(3))", "int(interval(1,5))", "[survey]", "{name: random}"]),
)  # fmt: skip


def _misspelt(word: str, place: int) -> str:
    at = place % len(word)
    return word[:at] + word[at + 1 :]


def _of_groups(groups: dict[str, list[str]]) -> st.SearchStrategy[str]:
    lists = [
        st.lists(st.sampled_from(options), min_size=1, max_size=2).map(
            lambda some, group=group: f"{group}={','.join(some)}"  # type: ignore[misc]
        )
        for group, options in groups.items()
    ]
    return st.one_of(*lists)


KEY = st.one_of(
    KEYS,
    st.sampled_from(list(GROUPS)),
    st.sampled_from(HYDRA),
    KEYS.map(lambda key: f"sweep.params.{key}"),
    st.builds(_misspelt, KEYS, st.integers(0, 40)),
    st.builds(lambda key, package: f"{key}@{package}", KEYS, st.sampled_from(["x", "", "a.b"])),
    WORDS,
)
OPERATORS = st.sampled_from(["", "", "", "", "+", "++", "~", "+~"])
OVERRIDES = st.one_of(
    USUAL,
    USUAL,
    USUAL,
    _of_groups(GROUPS),
    _of_groups(HYDRA_GROUPS),
    st.builds(lambda sign, key, value: f"{sign}{key}={value}", OPERATORS, KEY, VALUES),
    st.builds(lambda key: f"~{key}", KEY),
    WORDS,
)
FLAGS = st.sampled_from(
    [[], [], [], ["-m"], ["-m"], ["--multirun"], ["--cfg", "job"], ["--cfg", "all"], ["-c", "hydra"],
     ["--cfg", "job", "--resolve"], ["--cfg", "job", "-p", "train"], ["-p", "nope", "--cfg", "job"],
     ["--resolve"], ["--info", "config"], ["--info"], ["-i", "searchpath"], ["--run"], ["-cd", "."],
     ["-cd", "nope"], ["-cn", "config"], ["-cn", "own"], ["-cp", "."], ["-sc"], ["--hydra-help"],
     ["--version"], ["--help"], ["-x"], ["--cfg", "jobs"], ["-m", "--cfg", "job"], ["--"]]
)  # fmt: skip
SUB = st.sampled_from(SUB_COMMANDS)
OWN = st.sampled_from(["format=json", "format=xml", "level=fine", "action=list", "action=verify",
                       "budget_gb=1", "model=nope", "output=o.csv", "run=1", "plans", "topic"])  # fmt: skip
OPTIONED = st.builds(
    lambda flags, overrides, last: [*flags, *overrides] if last else [*overrides, *flags],
    FLAGS, st.lists(OVERRIDES, max_size=4), st.booleans(),
)  # fmt: skip
LINES = st.one_of(
    OPTIONED,
    OPTIONED,
    OPTIONED,
    st.builds(
        lambda name, own, rest: [name, *own, *rest], SUB, st.lists(OWN, max_size=2), OPTIONED
    ),
)
