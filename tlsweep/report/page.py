"""The report page: one HTML file that needs no other, in light and dark."""

from __future__ import annotations

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined

from tlsweep.report.table import percent, plan_words, with_interval
from tlsweep.verdict import Verdict


def page(verdict: Verdict, light: bytes, dark: bytes, config_yaml: str, look: str) -> str:
    """The page. light, dark: the curve as PNG for both appearances; look: the MLflow command."""
    environment = Environment(
        loader=PackageLoader("tlsweep.report", "."),
        autoescape=True,  # names of classes, folders and studies are the user's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment.get_template("page.html.j2").render(
        verdict=verdict,
        recommended=verdict.recommended,
        with_interval=with_interval,
        plan_words=plan_words,
        light=base64.b64encode(light).decode(),
        dark=base64.b64encode(dark).decode(),
        config=config_yaml,
        look=look,
    )
