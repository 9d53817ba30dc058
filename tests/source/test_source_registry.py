"""Names and options of sources are refused at once, with what to write instead."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tlsweep.errors import Refusal
from tlsweep.source import check_source, open_source


def test_an_unknown_source_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Refusal) as caught:
        open_source("glyph")
    (fault,) = caught.value.faults
    assert fault.value == "source=glyph"
    assert "glyphs, module, timm, transformers, word_vectors, torchvision" in fault.rule
    assert fault.mend == "source=glyphs"


def test_an_unknown_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Refusal) as caught:
        check_source("torchvision", model="resnet18", weigths="DEFAULT")
    (fault,) = caught.value.faults
    assert fault.value == "source.weigths=..."
    assert fault.mend == "source.weights=..."


def test_importing_the_room_loads_nothing_heavy() -> None:
    code = (
        "import sys, tlsweep.source; "
        "print([n for n in ('torch', 'torchvision', 'matplotlib', 'PIL') if n in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
