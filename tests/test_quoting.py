"""A path reaches a job as it is, whatever is in it."""

from __future__ import annotations

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from tlsweep.jobs.line import quoted

ODD = "abc /\\'\",=:{}[]()$é-"


@given(st.text(ODD, min_size=1, max_size=20))
@example("it's \\' a \\path\\")
@example("sqlite:////a b/c,d='x'/optuna.db")
def test_a_quoted_text_is_read_as_itself(text: str) -> None:
    parsed = OverridesParser.create().parse_override("trial={storage:" + quoted(text) + ",n:1}")
    assert parsed.value() == {"storage": text, "n": 1}
