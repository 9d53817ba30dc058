"""The README and the manual: short, linked, and true to the commands and settings of the code."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from rich.console import Console

from tlsweep import screen
from tlsweep.cli import HELP, SUB_COMMANDS
from tlsweep.commands import cache, cuts
from tlsweep.commands import help as help_command
from tlsweep.config.read import read
from tlsweep.config.settings import Settings, flatten
from tlsweep.errors import Refusal
from tlsweep.jobs import grammar
from tlsweep.jobs.effect import refuse_without_effect
from tlsweep.jobs.line import parted
from tlsweep.jobs.overrides import compose_config, refuse_unknown
from tlsweep.registry import component
from tlsweep.stages import check

ROOT = Path(__file__).resolve().parents[1]
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
CONF, README = ROOT / "conf", ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "tlsweep" / "manual").glob("*.md"))]
TOPICS = [
    "benchmarks", "data", "extend", "model", "plans", "python", "records", "schedules", "search",
    "security", "sources", "storage", "training", "verdict", "words", "workers",
]  # fmt: skip
OTHERS = ("python3 -m venv", "mlflow ui", "nox -s")  # commands of a page that are not tlsweep's
GROUPS = ("source", "target", "plan", "schedule", "train", "sweep", "features", "record", "engine")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


def shell_lines(page: Path) -> list[str]:
    joined = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip()]


def commands(page: Path) -> list[list[str]]:
    """The arguments of every ``python -m tlsweep`` of a page."""
    found = []
    for line in shell_lines(page):
        before, called, after = line.partition("python -m tlsweep")
        if called:
            found.append(shlex.split(after))
        else:
            assert line.startswith(OTHERS), f"{page.name}: {before}"
    return found


COMMANDS = [(page.stem, command) for page in PAGES for command in commands(page)]


# ---------------------------------------------------------------------- README
def test_the_readme_has_at_most_900_words_and_one_picture() -> None:
    text = text_of(README)
    assert len(PYTHON.sub("", text).split()) <= 900
    assert len(re.findall(r"!\[|<img", text)) == 1


def test_what_the_readme_shows_of_another_package_is_what_the_tests_run() -> None:
    shown = [block.strip() for block in PYTHON.findall(text_of(README))]
    assert shown == [text_of(ROOT / "tests/outside/stripes_target.py").strip()]
    told = dict(re.findall(r"\(tests/outside/(\w+)\.py\)(?: takes)? (\d+)", text_of(README)))
    assert set(told) == {"tiny_source", "grades_task"}
    for name, lines in told.items():
        text = text_of(ROOT / f"tests/outside/{name}.py")
        assert int(lines) == sum(bool(line.strip()) for line in text.splitlines())


def test_the_readme_links_to_every_page_of_the_manual() -> None:
    assert {f"tlsweep/manual/{topic}.md" for topic in TOPICS} <= set(links(README))


def test_ci_runs_the_readmes_test_command() -> None:
    (command,) = (line for line in shell_lines(README) if "nox" in line)
    assert command == "python3 -m venv .venv && .venv/bin/pip install nox && .venv/bin/nox"
    assert command.replace("install nox", "install --quiet nox") in text_of(ROOT / ".ci" / "run")


# ---------------------------------------------------------------------- links
def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)#]+)[^)]*\)", text_of(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file_that_is_part_of_the_project(page: Path) -> None:
    inside = [link for link in links(page) if not link.startswith("https://")]
    missing = [link for link in inside if not (page.parent / link).is_file()]
    assert missing == []
    ignored = [link for link in inside if is_ignored((page.parent / link).resolve())]
    assert ignored == []


def is_ignored(file: Path) -> bool:
    if not (ROOT / ".git").exists():  # a source archive has nothing to ask
        return False
    asked = ["git", "check-ignore", "--quiet", str(file)]
    return subprocess.run(asked, cwd=ROOT, check=False).returncode == 0


# ---------------------------------------------------------------------- commands
def test_the_pages_show_enough_commands_to_be_worth_checking() -> None:
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: str(value)[:60])
def test_every_command_of_the_pages_is_one_that_tlsweep_takes(
    page: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_mine(tmp_path / "mine")
    name = command[0] if command else ""
    if name.isidentifier():
        run_sub_command(name, command[1:], tmp_path)
    else:
        check_hydra_command(command)


def write_mine(folder: Path) -> None:
    """The configs of one's own that the manual shows."""
    (folder / "experiment").mkdir(parents=True)
    example, *_ = blocks(PAGES[0].parent / "tlsweep/manual/extend.md", "yaml")
    (folder / "experiment" / "small.yaml").write_text(example)
    (folder / "own.yaml").write_text("defaults: [config, _self_]")


def run_sub_command(name: str, arguments: list[str], tmp_path: Path) -> None:
    """Run what needs no study; of the others see that they are told of which one."""
    if name == "cuts":
        cuts.run(arguments, CONF)
    elif name == "cache":
        cache.run([*arguments, f"features.cache_dir={tmp_path}"], CONF)
    elif name == "help":
        help_command.run(arguments, CONF)
    elif name in ("pretrain", "sync", "worker"):
        refuse_unknown(parted(arguments), CONF)
    elif name == "proxy":
        own = [a for a in arguments if not a.startswith(("host=", "port="))]
        refuse_unknown(parted(own), CONF)
    else:
        assert name in SUB_COMMANDS
        needed = {"predict": "model=", "export": "model=", "reproduce": "run="}[name]
        assert arguments[0].startswith(needed)


def check_hydra_command(command: list[str]) -> None:
    """What a command is checked for before it opens its data: names, values, the search space."""
    line = parted(command)
    refuse_without_effect(line)
    refuse_unknown(line, CONF)
    lines = list(line.overrides)
    parser = OverridesParser.create()
    listed = [o for line in lines if (o := parser.parse_override(line)).is_sweep_override()]
    assert "-m" in command or not listed
    named = any(line.startswith("sweep=") for line in lines)
    if listed and named:
        check.check_keys([o.key_or_group for o in listed])
    elif listed:
        grammar.grid(listed, lambda rest: ["input"])
    swept = {o.input_line for o in listed}
    plain = [line for line in lines if line not in swept]
    own = [a for a in line.arguments() if a.startswith("--config")]
    settings = composed([*own, *plain, *grammar.first_values(listed)])
    if "-m" in command:
        check_space(settings)


def check_space(settings: Settings) -> None:
    """The search space of a config can be read, and holds nothing that makes another question."""
    params = grammar.parse(
        [f"{key}={value}" for key, value in settings.sweep.params.items() if value is not None],
        OverridesParser.create(),
    )
    check.check_keys([o.key_or_group for o in params])
    grammar.build(params, lambda key: ["input"])
    for entry in settings.sweep.fixed:
        lines = [f"{key}={value}" for key, value in entry.items()]
        refuse_unknown(parted(lines), CONF)
        grammar.grid(grammar.parse(lines, OverridesParser.create()), lambda rest: ["input"])


def composed(overrides: list[str]) -> Settings:
    return read(compose_config(overrides, CONF))


def test_a_command_that_tlsweep_does_not_take_would_be_noticed() -> None:
    for wrong in (["train.epoch=3"], ["-m", "plan.keep=interval(1,2)"], ["sweep.n_trials=3"]):
        with pytest.raises(Refusal):
            check_hydra_command(wrong)


# ---------------------------------------------------------------------- settings named in the text
def keys_of_conf() -> set[str]:
    """Every ``group.key`` of every file of conf/, with the keys above it."""
    found = set()
    for file in sorted(CONF.glob("*/*.yaml")):
        tree: Any = OmegaConf.to_container(OmegaConf.load(file))
        for key, _ in flatten({file.parent.name: tree}):
            parts = key.split(".")
            found |= {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_setting_that_a_page_names_is_one_of_conf(page: Path) -> None:
    known, free = keys_of_conf(), ("sweep.sampler.", "sweep.pruner.")
    written = [
        word.strip("'").partition("=")
        for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text_of(page), flags=re.S))
        for word in code.split()
    ]
    unknown = [
        f"{key}{equals}{value}"
        for key, equals, value in written
        if re.fullmatch(rf"({'|'.join(GROUPS)})\.[a-z_.]+", key)
        and key not in known
        and not key.startswith(free)
    ]
    options = [
        f"{key}={value}"
        for key, equals, value in written
        if equals and value and key in GROUPS and not (CONF / key / f"{value}.yaml").exists()
    ]
    assert unknown + options == []


# ---------------------------------------------------------------------- Python
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_python_example_uses_names_that_there_are(page: Path) -> None:
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = node.value.id
                assert name != "tlsweep" or hasattr(importlib.import_module(name), node.attr)


def test_the_manuals_example_of_cut_points_runs() -> None:
    (code,) = (block for block in blocks(PAGES[0].parent / "tlsweep/manual/python.md", "python")
               if "cut_points" in block)  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


def test_the_manuals_example_of_a_freeze_schedule_runs() -> None:
    (code,) = (block for block in blocks(PAGES[0].parent / "tlsweep/manual/python.md", "python")
               if "tlsweep.Thaw" in block)  # fmt: skip
    exec(compile(code, "python.md", "exec"), {})  # it asserts what it shows


# ---------------------------------------------------------------------- help
def shown(monkeypatch: pytest.MonkeyPatch, *arguments: str, terminal: bool) -> str:
    console = Console(
        width=100, force_terminal=terminal, color_system="standard" if terminal else None,
        highlight=False, markup=False, record=True,
    )  # fmt: skip
    monkeypatch.setattr(screen, "console", console)
    help_command.run(arguments, CONF)
    return console.export_text(styles=terminal)


def test_the_manual_has_a_page_a_topic_and_help_lists_them_with_a_line_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert list(help_command.topics()) == TOPICS
    listed = shown(monkeypatch, terminal=False).splitlines()
    for topic in TOPICS:
        assert f"- `{topic}`: {help_command.summary(topic)}" in listed
        assert help_command.summary(topic).endswith(".")


@pytest.mark.parametrize("topic", TOPICS)
def test_help_shows_a_page_as_it_is_written_where_it_is_piped(
    topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = text_of(help_command.MANUAL / f"{topic}.md")
    assert shown(monkeypatch, topic, terminal=False).strip() == page.strip()


@pytest.mark.parametrize("topic", TOPICS)
def test_help_lays_a_page_out_on_a_terminal(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = shown(monkeypatch, topic, terminal=True)
    assert "\x1b[" in page
    assert "```" not in page
    assert "| ---" not in page


def test_an_unknown_topic_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(Refusal) as caught:
        help_command.run(["verdicts"], CONF)
    (fault,) = caught.value.faults
    assert fault.value == "help verdicts"
    assert all(topic in fault.rule for topic in TOPICS)
    assert fault.mend == "python -m tlsweep help verdict"


def test_more_than_one_topic_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        help_command.run(["plans", "data"], CONF)
    assert caught.value.faults[0].mend == "python -m tlsweep help plans"


def test_help_is_a_sub_command_that_the_command_line_tells_of() -> None:
    assert "help" in SUB_COMMANDS
    assert "python -m tlsweep help" in HELP
    done = subprocess.run(
        [sys.executable, "-m", "tlsweep", "help", "words"],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    assert done.stdout == text_of(help_command.MANUAL / "words.md")


# ---------------------------------------------------------------------- the map
MAPPED = [file for file in sorted(CONF.glob("*/*.yaml")) if file.parent.name != "experiment"]


def the_map() -> list[tuple[list[str], str]]:
    """Patterns of settings, and the files and folders where they act, a line each."""
    found = []
    for line in blocks(README, "text")[0].splitlines():
        patterns, places = re.split(r"\s{2,}", line)
        section, whole = "", []
        for pattern in patterns.split():
            section, _, name = pattern.rpartition(".") if "." in pattern else (section, "", pattern)
            whole.append(f"{section}.{name}")
        found.append((whole, places))
    return found


def code_at(place: str, key: str, name: str) -> str:
    if place.startswith("NAME"):
        return text_of(Path(str(component(key.partition(".")[0], name).__file__)))
    path = ROOT / "tlsweep" / place
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return "\n".join(text_of(file) for file in files)


def test_the_map_names_files_and_folders_that_are_there() -> None:
    places = [p for _, places in the_map() for p in places.split(", ") if not p.startswith("NAME")]
    assert [place for place in places if not (ROOT / "tlsweep" / place).exists()] == []


@pytest.mark.parametrize("file", MAPPED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_the_map_leads_to_code_that_names_each_setting(file: Path) -> None:
    group, lines, missed = file.parent.name, the_map(), []
    settings = OmegaConf.load(file)
    # other settings by name, and what is handed on to Optuna
    for left_out in ("defaults", "params", "fixed", "sampler", "pruner"):
        settings.pop(left_out, None)
    for key, _ in flatten({group: OmegaConf.to_container(settings)}):
        fitting = [places for patterns, places in lines if any(fnmatch(key, p) for p in patterns)]
        word = re.compile(rf"\b{key.rpartition('.')[2]}\b")
        if not any(word.search(code_at(p, key, file.stem)) for p in fitting[-1].split(", ")):
            missed.append(f"{key}: {fitting[-1]}")
    assert missed == []
