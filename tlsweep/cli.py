"""The command line: Hydra's entry, sub-commands, and refusals printed so that they can help."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsweep.errors import (
    Fault,
    Refusal,
    TlsweepError,
    failure_of,
    interrupts_heard,
    masked,
    nearest,
    unknown_name,
)
from tlsweep.terms import NAMED_CODE, VERSION

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from tlsweep.config.settings import Settings
    from tlsweep.task import Measure
    from tlsweep.trial import TrialResult

HELP = """\
tlsweep: how much of a pre-trained model should I keep for my task?

  python -m tlsweep -m                    the whole sweep: search, replicates, verdict, report
  python -m tlsweep                       train one plan once and print its scores
  python -m tlsweep -m plan=truncate_tuned plan.keep=2,3 seed=1,2
                                          train exactly these four (lists are a grid)
  python -m tlsweep -m study=three sweep=tpe plan=truncate_tuned plan.keep=2,3,4 \\
      'train.lr=interval(1e-3,1e-2)'      search and verdict, over this search space
  python -m tlsweep -m 'sweep.stages=[survey]'
                                          every cut point, frozen, from one pass over the data
  python -m tlsweep cuts source=torchvision source.model=resnet50
                                          where that model can be cut, and what each prefix costs
                                          (format=json for JSON, level=fine for every place)
  python -m tlsweep cache                 the stored activations; action=verify compares them with
                                          their checksums, action=prune budget_gb=5 evicts the
                                          least recently used, action=clear every one;
                                          format=json for JSON
  python -m tlsweep pretrain source=torchvision source.model=resnet18 target=mnist
                                          a source of your own: trained from nothing on a target
  python -m tlsweep predict model=DIR image.jpg FOLDER
                                          what the model that a sweep wrote (OUTPUT_DIR/STUDY/model)
                                          says of images, as CSV; format=json, output=FILE
  python -m tlsweep export model=DIR format=onnx,torch_export
                                          that model in other formats, checked; output=FILE
  python -m tlsweep reproduce run=ID      a recorded run again, every number compared
  python -m tlsweep worker study=NAME output_dir=DIR
                                          runs trials of a sweep that goes on elsewhere: any number
                                          of workers may join and leave (sweep.storage=URL)
  python -m tlsweep proxy output_dir=DIR host=HOST port=13000
                                          lets other machines reach that folder's studies:
                                          sweep.storage=grpc://HOST:13000
  python -m tlsweep sync output_dir=DIR   tells MLflow what it was not told while it was away
  python -m tlsweep help                  the topics of the manual; help TOPIC shows a page

Groups (conf/GROUP/NAME.yaml; choose with GROUP=NAME):
{groups}

Common overrides:
  study=NAME output_dir=DIR seed=0
  source=torchvision source.model=resnet18 source.weights=DEFAULT
  source.checkpoint=FILE source.image_size=128
  target=image_folder target.root=DIR target.fit_size=200
  target=manifest target.file=F.csv       a table of image files; target=arrays target.file=F.npz
  plan=finetune plan.keep=layer3          a cut point: name, index, fraction, all or none
  plan=surgical plan.tune=block2..block3  a region: blocks by name or number, all, or a list
  plan=adapters plan.rank=8               low-rank additions to frozen weights (LoRA)
  plan=finetune plan.drop=8..10           blocks left out whose output has the shape of their input
  schedule=two_phase train.epochs=10 train.lr=1e-3 train.lr_ratio=0.1
  schedule=phases 'schedule.phases=[none,block7,all]'
                                          what each phase thaws, by the names of blocks
  sweep.n_trials=20

A folder of your own images (DIR/train/CLASS/*.jpg; DIR/val and DIR/test are optional):
  python -m tlsweep -m source=torchvision source.model=mobilenet_v2 source.weights=DEFAULT \\
      target=image_folder target.root=DIR

The same command again goes on where it was stopped. --cfg job prints the config, --version the
version. HYDRA_FULL_ERROR=1 shows where an error came from.
"""


GROUPS = {
    "source": "the model that the weights come from",
    "target": "the data that it is adapted to",
    "task": "what is asked of each example",
    "plan": "what happens to each block",
    "schedule": "",
    "train": "epochs, rates, batch, devices",
    "sweep": "search space, budget, replicates",
    "features": "activations kept on disk",
    "record": "",
    "engine": "what runs the trials of a sweep",
    "experiment": "whole questions",
}
# each is tlsweep/commands/NAME.py
SUB_COMMANDS = ("help", "cuts", "cache", "pretrain", "predict", "export", "reproduce", "worker",
                "proxy", "sync")  # fmt: skip
_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS, errno.EINVAL)


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 refused, 130 interrupted."""
    # OpenMP threads that spin while they wait starve each other as soon as anything else runs (a
    # trial was seen to take 30 s in place of 1.5 s). A short spin costs little when alone.
    # Read by GNU OpenMP when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    arguments = sys.argv[1:]
    if any(a in ("-h", "--help") for a in arguments):
        print(help_text(), end="")  # noqa: T201 - rich takes a while to import
        raise SystemExit(0)
    if "--version" in arguments:
        print(VERSION)  # noqa: T201
        raise SystemExit(0)
    raise SystemExit(_guarded(lambda: _command(arguments)))


def _name_code(arguments: list[str]) -> None:
    """Keep what code this command line names, for it and for the processes that it starts."""
    given = [a.lstrip("+").partition("=") for a in arguments]
    if names := [value.strip("'\"") for key, _, value in given if key == "source.build"]:
        os.environ[NAMED_CODE] = ",".join(names)


def _command(arguments: list[str]) -> None:
    _name_code(arguments)
    name = arguments[0] if arguments else ""
    if name in SUB_COMMANDS:
        importlib.import_module(f"tlsweep.commands.{name}").run(arguments[1:], conf_folder())
    elif name.isidentifier():
        fault = unknown_name("sub-command", "sub-command", name, SUB_COMMANDS)
        near = nearest(name, SUB_COMMANDS) or SUB_COMMANDS[0]
        raise Refusal(Fault(f"sub-command {name}", fault.rule, f"python -m tlsweep {near}"))
    else:
        _hydra(arguments)


def _hydra(arguments: list[str]) -> None:
    import hydra

    from tlsweep.jobs.effect import refuse_without_effect
    from tlsweep.jobs.line import parted
    from tlsweep.jobs.overrides import refuse_unknown

    line = parted(arguments)
    if late := [a for a in line.overrides if a in SUB_COMMANDS]:
        rest = " ".join(a for a in arguments if a != late[0])
        mend = f"python -m tlsweep {late[0]} {rest}"
        raise Refusal(Fault(f"{late[0]} behind other words", "a sub-command comes first", mend))
    refuse_without_effect(line)
    if "shell-completion" not in line.options:  # its overrides are no keys of the config
        refuse_unknown(line, conf_folder())
    sys.argv[1:] = line.arguments()  # where Hydra reads them
    refused: list[TlsweepError] = []

    def task(config: DictConfig) -> float:
        try:
            return job(config)
        except TlsweepError as error:
            if "trial" in config and config.trial is not None:
                raise  # the sweep hears of it
            refused.append(error)  # said by us: Hydra would say it a second time
            return 0.0

    hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(task)()
    if refused:
        raise refused[0]


def job(config: DictConfig) -> float:
    """One Hydra job: one trial. Returns its score on what its fold holds out, 0 without."""
    from tlsweep import screen, trial
    from tlsweep.config.idle import refuse_idle
    from tlsweep.config.read import read

    settings = read(config, _typed_in())
    if settings.trial is not None:
        return trial.run(settings).scores.get("select", 0.0)
    refuse_idle(settings, _given())
    with screen.shown() as shown:
        from tlsweep.report import table

        measure = trial.question_of(settings, shown.step).task.measure
        shown.clear()
        screen.console.print(table.plan_table(trial.checked(settings)))
        result = trial.run(settings)
    _print_trial(settings, result, measure)
    return result.scores.get("select", 0.0)


def _typed_in() -> Path:
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.cwd)  # with hydra.job.chdir=true a job is elsewhere


def _given() -> list[str]:
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    given = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(given, list)
    return list(map(str, given))


def _print_trial(settings: Settings, result: TrialResult, measure: Measure) -> None:
    from tlsweep import screen
    from tlsweep.verdict import what_to_keep

    facts, history = result.facts, result.history
    last = history[-1]
    ended = "head at its optimum" if facts.is_probe else f"after {len(history)} epochs"
    score, held_out = "not known: fold=null holds nothing out", ""
    if "select" in result.scores:
        score = measure.unit.written(measure.value(result.scores["select"]))
        score += f"  on held-out examples (fold {facts.fold})"
        held_out = f", {last['select_loss']:.4f} held out"
    screen.console.print(
        f"{settings.study_name}  plan={facts.name}\n"
        f"  plan      {what_to_keep(facts)}\n"
        f"  {measure.words:8}  {score}\n"
        f"  loss      {last['fit_loss']:.4f} fit{held_out}, {ended}\n"
        f"  trained   {result.start}\n"
        "  The report split stays unread: a sweep (-m) reads it once, for its verdict."
    )


def help_text() -> str:
    """What ``--help`` shows, with the options of every group that are there."""
    return HELP.replace("{groups}", "\n".join(map(_group_lines, GROUPS)))


def _group_lines(group: str) -> str:
    from tlsweep.registry import INSIDE, conf_folders

    folders = [folder / group for folder in (conf_folder(), *conf_folders())]
    options = dict.fromkeys(file.stem for folder in folders for file in folder.glob("*.yaml"))
    listed = ", ".join(sorted(name for name in options if name not in INSIDE))
    words = f"  ({GROUPS[group]})" if GROUPS[group] else ""
    return textwrap.fill(
        f"  {group:10}  {listed}{words}", 79, subsequent_indent=" " * 14, break_on_hyphens=False
    )


def conf_folder() -> Path:
    """The folder of configs: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


# ---------------------------------------------------------------------- errors
def _guarded(action: Callable[[], Any]) -> int:
    """Run ``action``; print what the user can mend without a traceback. Returns the exit code."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        with interrupts_heard(), _own_environment():
            # else Hydra prints errors in its own way and exits with 1
            os.environ["HYDRA_FULL_ERROR"] = "1"
            action()
    except KeyboardInterrupt:
        _complain(
            "stopped; the same command goes on from here, with all finished trials of a sweep;"
            " for one plan add train.resume=true: its finished epochs are kept"
        )
        return 130
    except TlsweepError as error:
        if wants_traceback:
            raise
        return _refuse(error) if isinstance(error, Refusal) else _fail(error)
    except Exception as error:
        from tlsweep.files.unwritten import why_unwritten

        if (why := why_unwritten(error)) is not None and not wants_traceback:
            return _fail(TlsweepError(why))
        if (failure := failure_of(error)) is not None and not wants_traceback:
            return _fail(failure)
        refusal = _refusal_of(error)
        if refusal is None or wants_traceback:
            raise
        return _refuse(refusal)
    return 0


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """Within, variables may be set for this command and the processes that it starts."""
    kept = {name: os.environ.get(name) for name in ("HYDRA_FULL_ERROR", NAMED_CODE)}
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _refuse(refusal: Refusal) -> int:
    faults = list(dict.fromkeys(refusal.faults))
    _complain("\n\n".join(str(fault) for fault in faults))
    return 2


def _fail(error: TlsweepError) -> int:
    _complain(str(error))
    return 1


def _complain(text: str) -> None:
    print(f"tlsweep: {masked(text)}", file=sys.stderr)  # noqa: T201


def _refusal_of(error: Exception) -> Refusal | None:
    """Hydra's own errors, and those of the file system, as refusals."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, HydraException | OmegaConfBaseException):
        lines = [line for line in str(error).splitlines() if line.strip()]
        return Refusal(
            Fault(lines[0], " ".join(lines[1:4]) or "see --help", "correct that override")
        )
    if isinstance(
        error, PermissionError | NotADirectoryError | FileExistsError | IsADirectoryError
    ):
        mend = "change the permissions of that path, or output_dir=DIR with another folder"
    elif isinstance(error, OSError) and error.errno in _NO_PATH:
        mend = "another path, or a shorter name"
    else:
        return None
    rule = "what a command reads can be read, and its output_dir can be written"
    return Refusal(Fault(f"{error.filename}: {error.strerror}", rule, mend))
