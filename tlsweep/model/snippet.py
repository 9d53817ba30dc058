"""load.py: how to use the model without tlsweep, or where that is not possible, with it."""

from __future__ import annotations

import re

from tlsweep.model.card import CARD, PROGRAM, Card, TokenPreprocessing
from tlsweep.terms import Resampling

_PLAIN = f'''\
"""@WHAT@ of images: python load.py IMAGE ...  Needs torch, numpy and pillow."""
import json, sys
from pathlib import Path
import numpy as np, torch
from PIL import Image, ImageOps

HERE = Path(__file__).parent
CARD = json.loads((HERE / "{CARD}").read_text(encoding="utf-8"))
SPEC = CARD["preprocessing"]
MODEL = torch.export.load(HERE / "{PROGRAM}").module()

def prepare(path):
    colour, size = "L" if SPEC["channels"] == 1 else "RGB", SPEC["size"]
    image = ImageOps.exif_transpose(Image.open(path)).convert(colour)
    sides = [SPEC["resize"]] * 2 if SPEC["squash"] else image.size
    w, h = (SPEC["resize"] * n // min(sides) for n in sides)
@RESIZE@
    left, top = round((w - size) / 2), round((h - size) / 2)
    mean, std = (torch.tensor(SPEC[name])[:, None, None] for name in ("mean", "std"))
    return (x[:, top : top + size, left : left + size] / 255 - mean) / std

NAMES = CARD["output_names"]
for path in sys.argv[1:]:
    p = MODEL(prepare(path)[None])@ANSWER@[0]
    print(path, @SAID@, *p.tolist(), sep="\\t")
'''
_RESIZE: dict[Resampling, str] = {
    "pillow": """\
    image = image.resize((w, h), Image.Resampling[SPEC["interpolation"].upper()])
    x = torch.from_numpy(np.array(image, dtype=np.float32).reshape(h, w, -1)).permute(2, 0, 1)""",
    "torch": """\
    pixels = np.array(image, dtype=np.float32).reshape(1, image.height, image.width, -1)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    how = {"mode": SPEC["interpolation"], "antialias": True}
    if how["mode"] == "nearest":
        how = {"mode": "nearest-exact"}
    x = torch.nn.functional.interpolate(x, (h, w), **how)[0].round().clamp(0, 255)""",
}
_WITH_TLSWEEP = '''\
"""@WHAT@ of images: python load.py IMAGE ...  Needs tlsweep."""
import sys
from pathlib import Path
import tlsweep

MODEL = tlsweep.load_model(Path(__file__).parent)
NAMES = MODEL.output_names
for path, p in zip(sys.argv[1:], MODEL.predict(sys.argv[1:])):
    print(path, @SAID@, *p.tolist(), sep="\\t")
'''


_KINDS = {  # what is printed of an image, how outputs become it, and what is said first
    "classes": ("Class probabilities", ".softmax(1)", "NAMES[int(p.argmax())]"),
    "labels": (
        "Label probabilities", ".sigmoid()",
        '", ".join(name for name, one in zip(NAMES, p) if one > 0.5)',
    ),
    "numbers": ("Numbers", "", '", ".join(NAMES)'),
}  # fmt: skip


def snippet(card: Card, *, program: bool) -> str:
    """The text of load.py. program: whether the exported program stands beside it."""
    # images of more than 8 bits are read by us, and tokens are made by the source
    texts = isinstance(card.preprocessing, TokenPreprocessing)
    program = program and not texts and card.image.levels is None
    text = _PLAIN if program else _WITH_TLSWEEP
    if texts:
        for word, other in (("images", "texts"), ("IMAGE", "TEXT"), ("path", "text")):
            text = re.sub(rf"\b{word}\b", other, text)
    what, answer, said = _KINDS[card.target.kind]
    marks = {
        "RESIZE": _RESIZE[card.image.resampling] if program else "",
        "WHAT": what,
        "ANSWER": answer,
        "SAID": said,
    }
    for mark, words in marks.items():
        text = text.replace(f"@{mark}@", words)
    return text
