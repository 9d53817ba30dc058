"""The page stands alone, holds the verdict's own numbers, and takes no user's text for HTML."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tlsweep.report import Material, figure
from tlsweep.report.material import Answered, Group
from tlsweep.report.page import page, unbroken
from tlsweep.task import Numbers
from tlsweep.terms import BlockState
from tlsweep.verdict import Verdict

Make = Callable[..., Material]


class Loads(HTMLParser):
    """Everything that a browser would fetch or go to, and the words that it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("src", "srcset", "href", "data", "xlink:href")
        self.found += [(tag, value or "") for name, value in attrs if name in names]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub("[ \n]+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def material(make_material: Make, small_verdict: Verdict) -> Material:
    return make_material(small_verdict)


@pytest.fixture(scope="module")
def written(material: Material) -> str:
    return page(material)


def test_the_page_loads_nothing_but_what_is_in_it(written: str) -> None:
    """Thumbnails lie in it, pictures are drawn by it, and their parts are found in it."""
    for tag, address in Loads(written).found:
        assert address.startswith("data:image/jpeg;base64,") if tag == "img" else address[0] == "#"
        if address.startswith("#"):
            assert f'id="{address[1:]}"' in written
    for outside in ("<script", "http", "@import", "url(http", "image/png"):
        assert outside not in written


def test_no_two_parts_of_the_page_have_one_identifier(written: str) -> None:
    """A picture that is hidden must not lend its parts to one that is shown."""
    for picture in re.findall(r'<div class="(?:desk|phone)">.*?</svg>', written, re.DOTALL):
        identifiers = re.findall(r'<(?:path|clipPath)[^>]* id="([^"]+)"', picture)
        for identifier in identifiers:
            assert written.count(f'id="{identifier}"') == 1


def test_colours_of_pictures_follow_the_appearance_of_the_page(written: str) -> None:
    """No colour of a picture is fixed, and both appearances name every colour that is used."""
    for picture in re.findall(r"<svg.*?</svg>", written, re.DOTALL):
        assert not re.findall(r"#[0-9a-f]{6}\b", picture.replace("#000000", ""))
        used = set(re.findall(r"var\(--(\w+)\)", picture))
        assert used <= set(figure.LIGHT.__dataclass_fields__)
    dark = written[written.index("prefers-color-scheme: dark") :]
    for name in figure.DARK.__dataclass_fields__:
        assert f"--{name}: {getattr(figure.DARK, name)};" in dark


def test_paper_is_never_dark(written: str) -> None:
    """The dark appearance holds on screens alone."""
    assert re.findall(r"@media [^{]*prefers-color-scheme: dark[^{]*", written) == [
        "@media screen and (prefers-color-scheme: dark) "
    ]


def test_a_users_text_is_never_taken_for_html(material: Material) -> None:
    raw = "<img src=x>"
    verdict = replace(
        material.verdict,
        study="<b>bold</b>",
        curve=[replace(p, cut=raw) for p in material.verdict.curve],
        plans=[replace(p, cut=raw, overrides=[raw], source=raw) for p in material.verdict.plans],
    )
    answered = replace(
        material.answered,
        classes=tuple(replace(c, name=raw, taken_for=raw) for c in material.answered.classes),
        worst=tuple(replace(c, called=raw, true=raw) for c in material.answered.worst),
    )
    text = page(
        replace(
            material,
            verdict=verdict,
            answered=answered,
            asks=raw,
            notes=(raw,),
            look="mlflow ui '<x>'",
            config="study: <i>",
            blocks=tuple(replace(b, name=raw) for b in material.blocks),
        )
    )
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    for forbidden in ("<b>bold", raw, "<x>", "<i>\n", ": <i>"):
        assert forbidden not in text


def test_the_sentence_comes_first_and_the_warnings_next(written: str, material: Material) -> None:
    text = Loads(written).text
    places = [
        text.index(unbroken(material.verdict.sentence)),
        text.index(material.notes[0]),
        text.index("Accuracy against how much is kept"),
        text.index("Every plan"),
    ]
    assert places == sorted(places)


def test_every_number_of_the_verdict_is_on_the_page(written: str, material: Material) -> None:
    text, verdict = Loads(written).text, material.verdict
    for score, (low, high) in [
        (verdict.score, verdict.interval),
        *((c["score"], c["interval"]) for c in verdict.controls.values()),
    ]:
        assert unbroken(f"{100 * score:.1f} % ({100 * low:.1f} to {100 * high:.1f})") in text
    for control in verdict.controls.values():
        assert f"{100 * control['recommended_minus_this']:+.1f} (" in text
    for row in verdict.plans:
        assert unbroken(f"{100 * row.out_of_fold:.1f} %") in text
        if row.report is not None:
            assert unbroken(f"{100 * row.report.mean:.1f} %") in text


def test_two_differences_from_one_control_are_told_apart(written: str, material: Material) -> None:
    """That in the sentence is of all examples, that in the table of the report split."""
    assert material.verdict.contrasts
    told = "the differences in the first sentence are others"
    assert told in Loads(written).text
    without = replace(material, verdict=replace(material.verdict, contrasts=[]))
    assert told not in page(without)


def test_the_recommended_row_alone_is_marked_in_the_table_of_plans(written: str) -> None:
    table = written[written.index("<h2>Every plan") : written.index("<h2>Accuracy against comp")]
    assert table.count('class="chosen"') == table.count("◀ recommended") == 1


def test_the_bar_shows_every_block_in_its_state(written: str, material: Material) -> None:
    bar = written[written.index('<div class="blocks"') : written.index('<ul class="key"')]
    shown = re.findall(r'<span class="(\w+)" title="([^:"]+)', bar)
    assert shown == [
        *((str(block.state), block.name) for block in material.blocks),
        ("head", "new head"),
    ]
    assert BlockState.TUNED in {block.state for block in material.blocks}


def test_without_a_record_the_page_names_none(material: Material) -> None:
    bare = replace(material, look="", runs=(), commands=())
    assert "Every training is in MLflow" in page(material)
    assert "is in MLflow" not in page(bare)


def test_a_run_with_an_address_is_a_link(material: Material) -> None:
    link = "https://mlflow.example/#/experiments/1/runs/abc"
    run = replace(material.runs[0], link=link, run_id="abc")
    assert f'<a href="{link}">abc</a>' in page(replace(material, runs=(run,)))


def test_many_classes_are_shown_worst_first_and_none_is_left_out(
    make_material: Make, large_verdict: Verdict
) -> None:
    material = make_material(large_verdict, classes=30)
    text = page(material)
    for row in material.answered.classes:
        assert f"<td>{row.name}</td>" in text
    assert "the other 10 classes" in text
    assert "What is taken for what" not in text


def test_without_epochs_survey_or_mistakes_the_page_leaves_these_parts_out(
    material: Material,
) -> None:
    answered = replace(material.answered, worst=())
    text = page(replace(material, trainings=(), transfer=(), notes=(), answered=answered))
    for heading in ("How training went", "What the features alone foretold", "surest of it"):
        assert heading not in text
    assert '<div class="careful">' not in text


def test_a_thaw_is_where_fewer_blocks_are_frozen_than_before(material: Material) -> None:
    thawing = [t for t in material.trainings if t.recommended]
    assert {tuple(t.thaws) for t in thawing} == {(5,)}
    assert all(t.thaws == [] for t in material.trainings if not t.recommended)


def test_scores_by_other_metrics_stand_beside_the_one_that_chose(written: str) -> None:
    assert "other scores of this model log loss 0.123 nats" in Loads(written).text.replace(
        "\xa0", " "
    )


def test_numbers_are_told_by_range_in_their_own_unit(material: Material) -> None:
    measure = Numbers(1, spread=12.0, unit="degrees").measure
    group = Group("-10.0 to 3.5", 40, 12, "2.1 degrees (1.9 to 2.4)")
    verdict = replace(material.verdict, measure=measure, metric="mae")
    shown = replace(material, verdict=verdict, answered=Answered(40, (), groups=(group,)))
    text = Loads(page(shown)).text.replace("\xa0", " ")
    assert "Mean absolute error against how much is kept" in text
    assert "-10.0 to 3.5 2.1 degrees (1.9 to 2.4) 40 12" in text
    assert "held out, degrees" in text
    assert "always the mean" in text
    assert "Class by class" not in text


def test_smaller_pools_and_sources_have_tables_of_their_own(material: Material) -> None:
    verdict = material.verdict
    rows = [*verdict.plans, *(replace(row, source="other") for row in verdict.plans)]
    smaller = [replace(verdict, pool_images=77)]
    text = page(replace(material, verdict=replace(verdict, plans=rows, smaller=smaller)))
    for words in ("<h2>Every source</h2>", "<td>other</td>", "against the number of labels</h2>"):
        assert words in text
    assert '<td class="right">77</td>' in text
    alone = page(material)
    assert "Every source" not in alone
    assert "against the number of labels" not in alone
