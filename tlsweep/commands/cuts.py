"""``python -m tlsweep cuts``: where a source can be cut, and what each prefix costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tlsweep import screen
from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal, unknown_name
from tlsweep.jobs.effect import refuse_others
from tlsweep.jobs.line import parted
from tlsweep.jobs.overrides import compose_config

FORMATS = ("table", "json")
LEVELS = ("block", "fine")


def run(arguments: Sequence[str], conf: Path) -> None:
    """Print the cut points of the source that ``arguments`` choose.

    ``format=json`` and ``level=fine`` are this command's own; a bare ``source.model=NAME`` chooses
    torchvision, and no weights are needed. Raises Refusal for what is unknown.
    """
    own = {"format": "table", "level": "block"}
    rest = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in own:
            own[key] = value
        else:
            rest.append(argument)
    for key, known in (("format", FORMATS), ("level", LEVELS)):
        if own[key] not in known:
            raise Refusal(unknown_name(key, key, own[key], known))
    if any(a.startswith("source.model=") for a in rest) and "source=torchvision" not in rest:
        rest.insert(0, "source=torchvision")
    refuse_others(parted(rest), "cuts", ("source",))
    _print(read(compose_config(rest, conf)), own["format"], own["level"])


def _print(settings: Settings, form: str, level: str) -> None:
    from tlsweep.cut import prefix_costs
    from tlsweep.cut.table import rows
    from tlsweep.report.table import cuts_table
    from tlsweep.source import dissect, open_architecture

    model, example = open_architecture(
        settings.source.name, **settings.source.model_dump(exclude={"name"})
    )
    cuts = dissect(settings.source.name, model, example, "fine" if level == "fine" else "block")
    found = rows(cuts, prefix_costs(model, cuts, example))
    if form == "json":
        print(json.dumps(found, indent=2))  # noqa: T201 - plain, for other programs
    else:
        screen.console.print(cuts_table(f"{settings.source.title}: cut points ({cuts.way})", found))
        for said in cuts.said:
            screen.console.print(said, soft_wrap=True)
