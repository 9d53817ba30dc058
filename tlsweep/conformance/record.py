"""What every record promises."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any, get_args

from tlsweep.conformance.component import ComponentSuite
from tlsweep.errors import Refusal
from tlsweep.record import Record, TrialRun, join_record, open_record
from tlsweep.record.base import Status
from tlsweep.section import RecordSettings

TAGS = {"tlsweep.config": "plan:\n  keep: 3\n", "tlsweep.role": "trial", "mine": "x"}


class RecordSuite(ComponentSuite):
    """One record, opened once for all tests of the class.

    keeps: whether it keeps what it is told; folder: its sweeps' output_dir, None for one that is
    made and taken away again.

    >>> class TestMyRecord(RecordSuite):
    ...     name = "my_record"
    """

    kind = "record"
    asked_of = {  # noqa: RUF012
        "open": ("settings", "output_dir"),
        "join": ("settings", "output_dir", "parent_run"),
    }
    by_name = False
    keeps: bool = True
    folder: Path | None = None

    @classmethod
    def teardown_class(cls) -> None:
        """Take the folder away that was made."""
        if made := cls._kept.get("made"):
            shutil.rmtree(made, ignore_errors=True)

    @property
    def record(self) -> Record:
        """The record."""
        return self.once("record", self._opened)

    def _opened(self) -> Record:
        settings = self.settings()
        assert isinstance(settings, RecordSettings)
        return open_record(settings, self._folder)

    @property
    def _folder(self) -> Path:
        return self.folder or Path(self.once("made", tempfile.mkdtemp))

    def _trial(self, name: str = "t", **tags: str) -> TrialRun:
        parent = self.record.start_sweep("s", {"source": "a"})
        return self.record.start_trial(parent, name, {"lr": 0.1}, {**TAGS, **tags})

    # ------------------------------------------------------------------ runs
    def test_each_sweep_and_each_trial_has_a_run_of_its_own(self) -> None:
        sweeps = [self.record.start_sweep(name, {"lr": 0.1}) for name in ("a", "b")]
        trials = [self.record.start_trial(sweeps[0], "t", {}, TAGS).run_id for _ in range(2)]
        found = [*sweeps, *trials]
        if self.keeps:
            assert all(isinstance(one, str) and one for one in found)
            assert len({*found}) == 4
        else:
            assert found == [None] * 4
            assert [*self._folder.iterdir()] == []

    def test_a_trial_is_found_as_it_was_told(self) -> None:
        run = self._trial("001 truncate")
        for epoch in (1, 2):
            run.log_epoch(epoch, {"loss": 1 / epoch, "accuracy": 0.25 * epoch})
        run.end("finished", {"select_score": 0.5}, reason="why", tags={"late": "y"})
        if not self.keeps:
            assert self._is_refused(run.run_id or "x")
            return
        found = self.record.recorded(str(run.run_id))
        assert (found.name, found.config) == ("001 truncate", TAGS["tlsweep.config"])
        assert (found.tags["mine"], found.tags["late"]) == ("x", "y")
        told = {("loss", 1): 1.0, ("loss", 2): 0.5, ("accuracy", 1): 0.25, ("accuracy", 2): 0.5}
        assert found.metrics == {**told, ("select_score", 0): 0.5}

    def test_a_trial_of_no_sweep_is_recorded_too(self) -> None:
        run = self.record.start_trial(None, "alone", {}, TAGS)
        run.end("finished", {"select_score": 0.75})
        if self.keeps:
            found = self.record.recorded(str(run.run_id))
            assert (found.name, found.metrics) == ("alone", {("select_score", 0): 0.75})

    def test_a_trial_that_joins_a_sweep_is_found_as_it_was_told(self) -> None:
        sweep = self.record.start_sweep("s", {})
        settings = self.settings()
        assert isinstance(settings, RecordSettings)
        joined = join_record(settings, self._folder, sweep)
        run = joined.start_trial(sweep, "elsewhere", {}, TAGS)
        run.log_epoch(1, {"loss": 0.5})
        run.end("finished", {"select_score": 0.75})
        assert joined.close() == 0
        if self.keeps:
            found = self.record.recorded(str(run.run_id))
            assert found.metrics == {("loss", 1): 0.5, ("select_score", 0): 0.75}

    def test_a_trial_may_end_in_any_way(self) -> None:
        for status in get_args(Status):
            run = self._trial()
            run.end(status, {"select_score": 0.5})
            if self.keeps:
                metrics = self.record.recorded(str(run.run_id)).metrics
                assert metrics == {("select_score", 0): 0.5}, status

    def test_a_trial_whose_process_is_gone_keeps_what_it_told(self) -> None:
        run = self._trial()
        if run.run_id is not None:
            for _ in range(2):  # told again where a sweep was killed once more
                self.record.end_lost(run.run_id)
            assert self.record.recorded(run.run_id).tags["mine"] == "x"

    def test_what_is_no_trial_of_this_record_is_refused(self) -> None:
        sweep = self.record.start_sweep("s", {})
        for run_id in ("no-such-run", *([sweep] if sweep else [])):
            assert self._is_refused(run_id), run_id

    # ------------------------------------------------------------------ sweeps
    def test_a_sweep_that_goes_on_has_the_run_that_it_had(self) -> None:
        first = self.record.start_sweep("again", {"lr": 0.1})
        self.record.end_sweep(first, "killed", {})
        assert self.record.start_sweep("again", {"lr": 0.1}, first) == first
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it may say that they are not here
            other = self.record.start_sweep("again", {"lr": 0.1}, "0" * 32)
        assert (other is None) is not self.keeps
        assert other != first or not self.keeps

    def test_a_verdict_may_be_told_again_and_files_be_kept(self) -> None:
        file = self._folder / "told" / "verdict.json"
        file.parent.mkdir()
        file.write_text("{}")
        try:
            self._tell_verdicts(file)
            assert file.read_text() == "{}"
        finally:
            shutil.rmtree(file.parent)

    def _tell_verdicts(self, file: Path) -> None:
        run_id = self.record.start_sweep("told", {})
        for last in (0.9, 0.9, 0.8):
            curves = {"curve": {0: 0.5, 3: last}}
            self.record.tell_verdict(run_id, "Keep 3 blocks.", {"plan": "truncate"}, curves)
            self.record.keep_files(run_id, [file])
        self.record.end_sweep(run_id, "finished", {"report_score": 0.8})

    def test_what_is_told_of_no_run_is_dropped(self, tmp_path: Path) -> None:
        self.record.tell_verdict(None, "nobody hears it", {"plan": "a"}, {"curve": {0: 0.5}})
        self.record.keep_files(None, [tmp_path / "missing"])
        self.record.end_sweep(None, "finished", {"report_score": 0.5})
        assert list(tmp_path.iterdir()) == []

    def test_where_to_look_is_an_address_or_a_command_or_nothing(self) -> None:
        sweep: Any = self.record.start_sweep("s", {})
        look, link = self.record.where_to_look(), self.record.link(sweep or "x")
        assert isinstance(look, str)
        assert bool(look) or not self.keeps
        assert link == "" or link.startswith(("http://", "https://"))

    def _is_refused(self, run_id: str) -> bool:
        try:
            self.record.recorded(run_id)
        except Refusal:
            return True
        return False
