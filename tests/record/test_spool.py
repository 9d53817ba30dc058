"""The spool keeps what a record is to be told, in order, whoever dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tlsweep.record.spool import Backlog, Writer, backlogs, merged, name_place, waiting, waits


def only(folder: Path) -> Backlog:
    (file,) = backlogs(folder)
    return Backlog(file)


def log(run: str, *numbers: float, **tags: str) -> dict[str, object]:
    return {"do": "log", "run": run, "metrics": [*numbers], "params": {}, "tags": tags}


def test_entries_wait_in_order_until_it_is_noted_that_they_were_told(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for n in range(3):
        writer.add({"do": "log", "run": "a", "n": n})
    backlog = only(tmp_path)
    assert [entry["n"] for entry, _ in backlog.left()] == [0, 1, 2]
    backlog.note(backlog.left()[0][1])
    assert [entry["n"] for entry, _ in backlog.left()] == [1, 2]
    assert [entry["n"] for entry, _ in only(tmp_path).left()] == [1, 2]
    assert (backlog.sure, only(tmp_path).sure) == (True, False)
    assert waiting(tmp_path) == 2


def test_what_a_killed_writer_wrote_by_half_is_no_entry(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.add({"do": "log", "run": "a"})
    with backlogs(tmp_path)[0].open("ab") as file:
        file.write(b'{"do": "log", "ru')
    assert [entry for entry, _ in only(tmp_path).left()] == [{"do": "log", "run": "a"}]
    assert waiting(tmp_path) == 1


def test_a_line_that_was_spoiled_is_an_empty_entry_and_the_others_are_whole(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.add({"do": "log", "run": "a"})
    with backlogs(tmp_path)[0].open("ab") as file:
        file.write(b"\xff\xfe\n[1, 2]\n" + b'{"do": "begin"}\n')
    writer.add({"do": "end", "run": "a"})
    assert [entry.get("do") for entry, _ in only(tmp_path).left()] == [
        "log",
        None,
        None,
        None,
        "end",
    ]


def test_a_disk_that_is_full_leaves_no_half_of_an_entry() -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path;"
        "from tlsweep.record.spool import Backlog, Writer, backlogs;"
        "from tempfile import mkdtemp; folder = Path(mkdtemp());"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "writer = Writer(folder); writer.add({'do': 'log', 'run': 'a'});"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, -1))\n"
        "try: writer.add({'do': 'log', 'run': 'b', 'text': 'x' * 1000}); print('written')\n"
        "except OSError as error: print(error.strerror)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1));"
        "writer.add({'do': 'log', 'run': 'c'});"
        "print([e['run'] for e, _ in Backlog(backlogs(folder)[0]).left()])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines() == ["File too large", "['a', 'c']"]


def test_a_writer_is_gone_when_it_closed_and_when_its_process_was_killed(tmp_path: Path) -> None:
    mine, others = tmp_path / "mine", tmp_path / "others"
    writer = Writer(mine)
    assert not only(mine).is_left()
    writer.close()
    assert only(mine).is_left()
    code = (
        "import os, sys; from pathlib import Path; from tlsweep.record.spool import Writer;"
        "Writer(Path(sys.argv[1])).add({'do': 'begin', 'run': 'a'}); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(others)], check=False)
    assert killed.returncode == -9
    assert only(others).is_left()
    assert only(others).open_runs() == ["a"]


def test_runs_are_open_from_when_they_begin_or_go_on_until_they_end(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    told = [
        ("begin", "a"),
        ("begin", "b"),
        ("end", "a"),
        ("go_on", "c"),
        ("log", "d"),
        ("end", "c"),
    ]
    for do, run in told:
        writer.add({"do": do, "run": run})
    assert only(tmp_path).open_runs() == ["b"]
    only(tmp_path).remove()
    assert backlogs(tmp_path) == []


def test_what_waits_is_counted_for_each_address(tmp_path: Path) -> None:
    for place, count in (("a", 2), ("b", 0), ("c", 1)):
        folder = tmp_path / ".spool" / place
        name_place(folder, f"http://{place}", "1")
        writer = Writer(folder)
        for _ in range(count):
            writer.add({"do": "log", "run": "x"})
    assert waits(tmp_path) == {"http://a": 2, "http://c": 1}
    assert waits(tmp_path / "nowhere") == {}


ENTRIES = st.lists(
    st.one_of(
        st.tuples(st.just("log"), st.sampled_from("ab"), st.lists(st.integers(), max_size=4)),
        st.tuples(st.just("end"), st.sampled_from("ab"), st.just([])),
    )
)


@given(ENTRIES, st.integers(1, 6))
def test_numbers_that_are_put_together_stay_in_order_and_are_not_too_many(
    told: list[tuple[str, str, list[int]]], most: int
) -> None:
    entries = [
        ({"do": do, "run": run, "metrics": numbers, "params": {}, "tags": {}}, n)
        for n, (do, run, numbers) in enumerate(told)
    ]
    found = [*merged(entries, most)]
    flat = [(e["run"], x) for e, _ in found for x in e["metrics"]]
    assert flat == [(run, x) for _, run, numbers in told for x in numbers]
    assert [e["run"] for e, _ in found if e["do"] == "end"] == [
        r for do, r, _ in told if do == "end"
    ]
    longest = max((len(numbers) for *_, numbers in told), default=0)
    assert all(len(e["metrics"]) <= max(most, longest) for e, _ in found)
    assert [end for _, end in found][-1:] == [n for _, n in entries][-1:]


def test_settings_are_put_together_with_numbers_and_what_lacks_a_part_stays_alone() -> None:
    more = {**log("a", 2.0), "params": {"lr": "0.1"}}
    ((joined, _),) = merged([(log("a", 1.0), 10), (more, 20)], 10)
    assert (joined["metrics"], joined["params"]) == ([1.0, 2.0], {"lr": "0.1"})
    edited = {"do": "log", "run": "a"}
    assert [e for e, _ in merged([(more, 10), (edited, 20)], 10)] == [more, edited]


def test_of_tags_that_are_put_together_the_last_value_counts() -> None:
    entries = [(log("a", 1.0, x="1", y="1"), 10), (log("a", x="2"), 20), (log("b"), 30)]
    (joined, end), (other, _) = merged(entries, 10)
    assert (joined["tags"], joined["metrics"], end) == ({"x": "2", "y": "1"}, [1.0], 20)
    assert other["run"] == "b"
