"""Each test of each suite fails for a component that breaks what it is about."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from notes_record import Note, Notes
from pydantic import field_validator

from tlsweep.conformance import (
    ComponentSuite,
    HeadSuite,
    RecordSuite,
    ScheduleSuite,
    SourceSuite,
    TargetSuite,
    TaskSuite,
)
from tlsweep.cut import CutPoints
from tlsweep.errors import Fault, Refusal
from tlsweep.heads.head import Head
from tlsweep.record import Recorded, none
from tlsweep.schedule.base import FreezeSchedule
from tlsweep.source import Source
from tlsweep.target.arrays import ArrayTarget
from tlsweep.task import Classes
from tlsweep.task.classes import MacroF1
from tlsweep.terms import ImageSpec, Split

Breaks = Callable[[Any, pytest.MonkeyPatch], Any]
"""Breaks a component. The first argument is the module, or the class, that it is made of."""
CHECK = "test_what_can_be_opened_passes_its_check"
numbers = itertools.count()


def passes(suite: type[Any], test: str, folder: Path) -> None:
    """Run one test of a suite, of a class that keeps nothing from others."""
    run = getattr(type(suite.__name__, (suite,), {})(), test)
    run(**({"tmp_path": folder} if "tmp_path" in inspect.signature(run).parameters else {}))


def fails(suite: type[Any], test: str, folder: Path) -> None:
    """Assert that it fails: by the Refusal of a check, else by an assertion."""
    with pytest.raises(Refusal if test == CHECK else AssertionError):
        passes(suite, test, folder)


def all_tests_of(suite: type[Any]) -> set[str]:
    return {name for name in dir(suite) if name.startswith("test_")}


def refuse(**options: object) -> None:
    raise Refusal(Fault("width", "nothing passes", "give up"))


# ---------------------------------------------------------------------- sources
def _settings_with_more(module: Any, patch: pytest.MonkeyPatch) -> None:
    class Settings(module.Settings):  # type: ignore[misc, name-defined]
        height: int = 3

    patch.setattr(module, "Settings", Settings)


def _settings_that_grow(module: Any, patch: pytest.MonkeyPatch) -> None:
    class Settings(module.Settings):  # type: ignore[misc, name-defined]
        @field_validator("width")
        @classmethod
        def _wider(cls, width: int) -> int:
            return width + 1

    patch.setattr(module, "Settings", Settings)


def _fingerprints(make: Callable[[], str]) -> Breaks:
    def breaks(module: Any, patch: pytest.MonkeyPatch) -> None:
        made = module.Tiny.__init__

        def init(self: Any, *args: Any) -> None:
            made(self, *args)
            self.fingerprint = make()

        patch.setattr(module.Tiny, "__init__", init)

    return breaks


def _method(name: str, method: Callable[..., Any]) -> Breaks:
    return lambda module, patch: patch.setattr(module.Tiny, name, method, raising=False)


def _not_a_number(source: Source) -> torch.nn.Module:
    model = Source.model(source)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    return model


def _one_model(source: Source) -> torch.nn.Module:
    own: torch.nn.Module = source.__dict__.setdefault("kept", Source.model(source))
    return own


def _more(source: Source) -> torch.nn.Module:
    model = Source.model(source)
    model.register_forward_hook(lambda module, given, answer: answer + 1)
    return model


def _random(source: Source, seed: int) -> torch.nn.Module:
    random.random()
    return Source.fresh(source, next(numbers))


def _alike_names(module: Any, patch: pytest.MonkeyPatch) -> None:
    def dissect(model: Any, example: Any) -> CutPoints:
        from tlsweep.cut import cut_points

        return CutPoints([replace(point, name="same") for point in cut_points(model, example)])

    patch.setattr(module, "dissect", dissect, raising=False)


def _carries_another(module: Any, patch: pytest.MonkeyPatch) -> None:
    own = module.architecture

    def architecture(*, width: Any) -> Any:
        return own(width=width if isinstance(width, int) else 1)

    patch.setattr(module, "architecture", architecture)
    patch.setattr(module, "carry", lambda folder, **options: {"width": "."}, raising=False)


SOURCE: dict[str, Breaks] = {
    "test_its_yaml_names_it_and_every_setting_that_it_has_and_no_other": _settings_with_more,
    "test_its_settings_are_read_as_they_were_recorded": _settings_that_grow,
    "test_its_functions_take_what_they_are_given": lambda module, patch: patch.setattr(
        module, "check", lambda: None
    ),
    CHECK: lambda module, patch: patch.setattr(module, "check", refuse),
    "test_it_wants_to_see_what_its_example_is": _method("example", lambda self: torch.zeros(1)),
    "test_what_it_carries_describes_the_same_architecture": _carries_another,
    "test_its_model_answers_its_example_with_finite_numbers": _method("model", _not_a_number),
    "test_it_names_each_class_of_its_classifier_or_none": _method("class_names", ("one",)),
    "test_it_can_be_sent_to_another_process": _method(
        "__setstate__", lambda self, state: self.__dict__.update(state, fingerprint="lost")
    ),
    "test_its_fingerprint_is_the_same_each_time_it_is_opened": _fingerprints(
        lambda: str(next(numbers))
    ),
    "test_its_fingerprint_tells_other_weights_apart": _fingerprints(lambda: "tiny"),
    "test_each_model_has_the_same_weights_and_memory_of_its_own": _method("model", _one_model),
    "test_models_are_in_eval_mode": _method("model", lambda self: Source.model(self).train()),
    "test_fresh_weights_follow_from_their_seed_alone": _method("fresh", _random),
    "test_fresh_weights_are_others_in_the_same_shapes": _method(
        "fresh", lambda self, seed: self.model()
    ),
    "test_making_models_leaves_every_global_random_state_as_it_was": _method("fresh", _random),
    "test_prefix_then_suffix_is_the_model_at_every_cut_point": _method("model", _more),
    "test_cut_points_begin_at_the_input_and_have_names_of_their_own": _alike_names,
}
TEXTS = "test_what_rides_along_reaches_every_part_and_filling_changes_nothing"
UNSET = "test_its_yaml_with_the_options_passes_its_settings"


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("test", SOURCE)
def test_a_broken_source_is_found(
    test: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tiny_source

    class Broken(SourceSuite):
        name, other = "tiny", {"width": 3}

    passes(Broken, test, tmp_path)
    SOURCE[test](tiny_source, monkeypatch)
    fails(Broken, test, tmp_path)


@pytest.mark.usefixtures("beside")
def test_a_network_of_texts_that_reads_filling_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import text_encoder

    class Broken(SourceSuite):
        name = "text_encoder"

    passes(Broken, TEXTS, tmp_path)
    monkeypatch.setattr(text_encoder, "layer", lambda one, z_btd, side: one(z_btd, None))
    fails(Broken, TEXTS, tmp_path)


def test_options_that_leave_a_setting_without_a_value_are_found(tmp_path: Path) -> None:
    class Broken(TargetSuite):
        name = "image_folder"

    fails(Broken, UNSET, tmp_path)


# ---------------------------------------------------------------------- targets
class Stripes(ArrayTarget):
    """The target that is broken, one test at a time: ``change`` is done to it when it is opened."""

    change: Callable[[Any], None]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        type(self).change(self)


def _set(**values: Any) -> Callable[[Any], None]:
    return lambda target: target.__dict__.update(values)


def _dataset(make: Callable[..., Any]) -> Callable[[Any], None]:
    """make: given a target's own method, the indices, and the spec."""

    def change(target: Any) -> None:
        own = target.dataset
        target.dataset = lambda indices, spec: make(own, indices, spec)

    return change


def _noisy(own: Any, indices: Any, spec: ImageSpec) -> Any:
    data = own(indices, spec)
    data.inputs = lambda ids: torch.rand(len(ids), spec.channels, spec.size, spec.size)
    return data


TARGET: dict[str, Callable[[Any], None]] = {
    "test_it_is_the_same_each_time_it_is_opened": lambda target: setattr(
        target, "fingerprint", str(next(numbers))
    ),
    "test_labels_are_in_the_type_of_its_task_and_within_its_range": lambda target: setattr(
        target, "labels", target.labels.astype(np.int32)
    ),
    "test_labels_differ_between_its_examples": lambda target: target.labels.fill(0),
    "test_it_names_each_output_of_its_task": _set(output_names=("a", "a")),
    "test_examples_are_called_by_names_of_their_own": _set(called=lambda index: "image"),
    "test_every_example_has_a_stratum": lambda target: setattr(
        target.task, "strata", lambda y: y - 1
    ),
    "test_given_splits_have_no_example_in_common_and_none_that_is_not_there": _set(
        given={Split.FIT: np.array([0, 1]), Split.REPORT: np.array([1, 2])}
    ),
    "test_equal_examples_are_known_by_the_first_of_them": lambda target: target.same_as.fill(1),
    "test_near_copies_are_known_by_the_first_of_them": lambda target: setattr(
        target, "like", target.same_as + 1
    ),
    "test_every_example_has_a_group_where_there_are_groups": _set(groups=("one", "two")),
    "test_what_it_took_for_granted_is_said_in_sentences": _set(said="a sentence"),
    "test_examples_are_as_a_source_wants_to_see_them": _dataset(
        lambda own, indices, spec: own(indices, replace(spec, size=12))
    ),
    "test_examples_come_in_the_order_that_is_asked_for": _dataset(
        lambda own, indices, spec: own(sorted(indices), spec)
    ),
    "test_rows_of_a_dataset_are_those_of_its_batches": _dataset(_noisy),
    "test_an_index_that_is_not_there_is_an_error": _dataset(
        lambda own, indices, spec: own(np.clip(indices, 0, 29), spec)
    ),
    "test_no_examples_are_an_empty_dataset": _dataset(
        lambda own, indices, spec: own(indices or [0], spec)
    ),
}


class BrokenTarget(TargetSuite):
    name, options = "stripes", {"images": 30}


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("test", TARGET)
def test_a_broken_target_is_found(
    test: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import stripes_target

    passes(BrokenTarget, test, tmp_path)
    monkeypatch.setattr(Stripes, "change", TARGET[test], raising=False)
    monkeypatch.setattr(stripes_target, "ArrayTarget", Stripes)
    fails(BrokenTarget, test, tmp_path)


@pytest.mark.usefixtures("beside")
def test_a_target_whose_check_refuses_it_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import stripes_target

    monkeypatch.setattr(stripes_target, "check", lambda *, images, progress=None: refuse())
    fails(BrokenTarget, CHECK, tmp_path)


# ---------------------------------------------------------------------- tasks
def _of_task(name: str, value: Any) -> Breaks:
    return lambda module, patch: patch.setattr(Classes, name, value)


def _of_metric(name: str, value: Any) -> Breaks:
    return lambda module, patch: patch.setattr(module.NearMiss, name, value)


def _far_out(task: Classes, outputs: Any, y: Any) -> Any:
    return np.where(np.abs(outputs).max(1) > 100, np.inf, 0.5)


TASK: dict[str, Breaks] = {
    "test_example_scores_are_one_number_each_whose_mean_is_the_metric": _of_metric(
        "value", lambda self, outputs, y: 0.4
    ),
    "test_scores_are_higher_for_better_answers": _of_metric(
        "example_scores", lambda self, outputs, y: 0.0 + (outputs.argmax(1) != y)
    ),
    "test_a_ratio_without_each_example_is_what_it_is_on_the_others": lambda module, patch: (
        patch.setattr(
            MacroF1,
            "without_each",
            lambda self, outputs, y: np.full(len(y), self.value(outputs, y)),
        )
    ),
    "test_one_example_has_a_score_and_none_is_an_error": _of_metric(
        "value", lambda self, outputs, y: 0.0
    ),
    "test_plans_are_chosen_by_any_of_its_metrics_and_by_no_other": _of_task(
        "by", lambda self, metric, own=Classes.by: own(self, metric and "accuracy")
    ),
    "test_what_is_trained_on_is_the_mean_of_the_examples_losses": _of_task(
        "loss",
        lambda self, outputs, y: torch.nn.functional.cross_entropy(outputs, y, reduction="sum"),
    ),
    "test_losses_of_outputs_far_out_are_finite": _of_task("losses", _far_out),
    "test_no_answer_without_looking_has_a_lower_loss_than_the_blind_one": _of_task(
        "blind", lambda self, y: np.float32([[3, 0, 0, 0]])
    ),
    "test_the_truth_has_a_lower_loss_than_the_blind_answer_and_that_than_a_guess": _of_task(
        "guess", 0.1
    ),
    "test_linear_heads_that_fit_it_are_fitted_to_numbers_of_its_outputs": _of_task(
        "probe_losses", lambda self, kind, outputs, y: self.losses(outputs, y)
    ),
    "test_what_clear_outputs_say_is_what_is_true": _of_task(
        "decide", lambda self, outputs: outputs.argmin(1)
    ),
    "test_the_truth_has_its_type_whatever_it_came_in": _of_task("truth", lambda self, y: y),
    "test_unlike_truths_are_told_in_unlike_words": _of_task(
        "spelled", lambda self, y, names: names[0]
    ),
    "test_labels_that_it_is_scaled_to_change_no_answer_and_no_value": _of_task(
        "scaled_to", lambda self, y: Classes(self.n_outputs)
    ),
    "test_every_example_has_a_stratum": _of_task("strata", lambda self, y: y / 2),
}


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("test", TASK)
def test_a_broken_task_is_found(test: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import grades_task

    class Broken(TaskSuite):
        name, own = "grades", Classes(4)

    passes(Broken, test, tmp_path)
    TASK[test](grades_task, monkeypatch)
    fails(Broken, test, tmp_path)


# ---------------------------------------------------------------------- heads
def _forward(change: Callable[..., Any]) -> type[Head]:
    """change: given a head's own method, and what it is given."""

    class Broken(Head):
        def forward(self, z: Any, side: Any = {}) -> Any:  # noqa: B006
            return change(self, super().forward, z, side)

    return Broken


class Uncalibrated(Head):
    def calibrate(self, features: Any) -> None: ...
    def calibrate_outputs(self, truth_no: Any) -> None: ...


class Frozen(Head):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        list(self.parameters())[-1].requires_grad_(False)


class Forgetful(Head):
    def calibrate_outputs(self, truth_no: Any) -> None:
        self.seen = float(truth_no.sum())

    def forward(self, z: Any, side: Any = {}) -> Any:  # noqa: B006
        return super().forward(z, side) + getattr(self, "seen", 0.0)


class Measured(Head):
    def __init__(self, shape: Any, pooling: Any, *args: Any, **options: Any) -> None:
        super().__init__(shape, replace(pooling, bag=None), *args, **options)


class ReadsAll(Head):
    def __init__(self, shape: Any, pooling: Any, *args: Any, **options: Any) -> None:
        super().__init__(shape, replace(pooling, tokens=None), *args, **options)


HEAD: dict[str, type[Head]] = {
    "test_every_example_has_its_outputs_whatever_it_is_made_of": _forward(
        lambda self, own, z, side: own(z, side)[:, 1:]
    ),
    "test_an_example_is_answered_the_same_in_any_company": _forward(
        lambda self, own, z, side: own(z, side) - own(z, side).mean(0)
    ),
    "test_unlike_examples_are_answered_unlike": _forward(
        lambda self, own, z, side: 0 * own(z, side)
    ),
    "test_what_it_cannot_read_is_refused_by_its_name": Head,  # an mlp, which reads all
    "test_texts_as_they_are_read_are_counted_not_measured": Measured,
    "test_tokens_that_a_mask_leaves_out_do_not_count": _forward(lambda self, own, z, side: own(z)),
    "test_a_head_that_pools_reads_the_chosen_token_alone_and_another_reads_all": ReadsAll,
    "test_a_calibrated_head_does_not_feel_the_scale_and_the_middle_of_its_features": Uncalibrated,
    "test_a_head_of_numbers_begins_around_their_mean_as_far_as_they_vary": Uncalibrated,
    "test_every_weight_is_trained": Frozen,
    "test_a_head_that_is_loaded_answers_as_the_one_that_was_saved": Forgetful,
}


@pytest.mark.parametrize("test", HEAD)
def test_a_broken_head_is_found(test: str, tmp_path: Path) -> None:
    class Whole(HeadSuite):
        name = "attention" if HEAD[test] is Head else "mlp"

    class Broken(Whole):
        def head(self, shape: Any, pooling: Any, *, scaled: bool = False) -> Head:
            return HEAD[test](shape, pooling, 3, kind="mlp", scaled=scaled)

    passes(Whole, test, tmp_path)
    fails(Broken, test, tmp_path)


# ---------------------------------------------------------------------- records
def _record(name: str, value: Any) -> Breaks:
    return lambda record, patch: patch.setattr(record, name, value)


def _ends(run: Note, status: str, summary: Any, **more: Any) -> None:
    if status == "finished":
        run.metrics = {(name, 0): value for name, value in summary.items()}


RECORD: dict[str, Breaks] = {
    "test_each_sweep_and_each_trial_has_a_run_of_its_own": _record(
        "start_sweep", lambda self, study, params, known=None: "sweep"
    ),
    "test_a_trial_is_found_as_it_was_told": lambda record, patch: patch.setattr(
        Note, "log_epoch", lambda self, epoch, metrics: None
    ),
    "test_a_trial_of_no_sweep_is_recorded_too": _record(
        "start_trial",
        lambda self, parent, name, *more, own=Notes.start_trial: own(self, parent, "", *more),
    ),
    "test_a_trial_that_joins_a_sweep_is_found_as_it_was_told": lambda record, patch: patch.setattr(
        Note, "log_epoch", lambda self, epoch, metrics: None
    ),
    "test_a_trial_may_end_in_any_way": lambda record, patch: patch.setattr(Note, "end", _ends),
    "test_a_trial_whose_process_is_gone_keeps_what_it_told": _record(
        "end_lost", lambda self, run_id: self.trials[run_id].tags.update(mine="")
    ),
    "test_what_is_no_trial_of_this_record_is_refused": _record(
        "recorded", lambda self, run_id: Recorded("", "", {}, {})
    ),
    "test_a_sweep_that_goes_on_has_the_run_that_it_had": _record(
        "start_sweep", lambda self, study, params, known=None: str(next(numbers))
    ),
    "test_a_verdict_may_be_told_again_and_files_be_kept": _record(
        "keep_files", lambda self, run_id, files: files[0].write_text("")
    ),
    "test_what_is_told_of_no_run_is_dropped": _record(
        "keep_files", lambda self, run_id, files: files[0].write_text("")
    ),
    "test_where_to_look_is_an_address_or_a_command_or_nothing": _record(
        "where_to_look", lambda self: ""
    ),
}


class Kept(RecordSuite):
    name = "none"


@pytest.mark.parametrize("test", RECORD)
def test_a_broken_record_is_found(
    test: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notes = Notes()
    monkeypatch.setattr(none, "open", lambda settings, output_dir: notes)
    monkeypatch.setattr(none, "join", lambda settings, output_dir, parent_run: notes)
    passes(Kept, test, tmp_path)
    RECORD[test](Notes, monkeypatch)
    fails(Kept, test, tmp_path)


# ---------------------------------------------------------------------- schedules
class Loose(FreezeSchedule):
    """One that does not look at its phases."""

    def __post_init__(self) -> None: ...


class Lossy(FreezeSchedule):
    """One that another process gets without what ends its phases."""

    def __reduce__(self) -> Any:
        return FreezeSchedule, (self.thawed,)


def _opens(change: Callable[..., FreezeSchedule]) -> Breaks:
    """change: given what the whole schedule opens, and the plan."""

    def breaks(module: Any, patch: pytest.MonkeyPatch) -> None:
        own = module.open
        patch.setattr(
            module,
            "open",
            lambda settings, plan, cuts, empty: change(own(settings, plan, cuts, empty), plan),
        )

    return breaks


def _thaws(schedule: FreezeSchedule, *phases: frozenset[int]) -> FreezeSchedule:
    return Loose(phases, schedule.ending)


SCHEDULE: dict[str, Breaks] = {
    "test_the_last_phase_trains_all_that_the_plan_trains": _opens(
        lambda found, plan: _thaws(found, *found.thawed[:1])
    ),
    "test_no_phase_trains_a_frozen_or_a_dropped_block": _opens(
        lambda found, plan: _thaws(found, frozenset({*range(4)} - plan.trained), *found.thawed)
    ),
    "test_new_layers_are_trained_from_the_first_step_on": _opens(
        lambda found, plan: _thaws(found, frozenset(), *found.thawed)
    ),
    "test_each_phase_thaws_more_and_freezes_nothing_again": _opens(
        lambda found, plan: _thaws(found, plan.trained, *found.thawed)
    ),
    "test_no_phase_is_spent_on_blocks_with_nothing_to_train": lambda module, patch: patch.setattr(
        module, "growing", lambda phases, ending, empty, own=module.growing: own(phases, ending, ())
    ),
    "test_a_phase_ends_as_the_settings_say_and_has_an_epoch_at_least": _opens(
        lambda found, plan: replace(found, ending=replace(found.ending, epochs=0))
    ),
    "test_a_plan_has_the_same_schedule_each_time_it_is_asked_for": _opens(
        lambda found, plan: replace(found, said=str(next(numbers)))
    ),
    "test_it_can_be_sent_to_another_process": _opens(
        lambda found, plan: Lossy(found.thawed, replace(found.ending, epochs=7))
    ),
}


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("test", SCHEDULE)
def test_a_broken_schedule_is_found(
    test: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pairs_schedule

    class Broken(ScheduleSuite):
        name, options = "pairs", {"blocks": 1}

    passes(Broken, test, tmp_path)
    SCHEDULE[test](pairs_schedule, monkeypatch)
    fails(Broken, test, tmp_path)


# ---------------------------------------------------------------------- all of them
def test_no_test_of_a_suite_is_left_out() -> None:
    of_all = all_tests_of(ComponentSuite)
    assert all_tests_of(SourceSuite) == {*SOURCE, TEXTS, UNSET}
    assert of_all <= all_tests_of(SourceSuite)
    assert all_tests_of(TargetSuite) - of_all == {*TARGET, CHECK}
    assert all_tests_of(TaskSuite) - of_all == {*TASK}
    assert all_tests_of(HeadSuite) == {*HEAD}
    assert all_tests_of(RecordSuite) - of_all == {*RECORD}
    assert all_tests_of(ScheduleSuite) - of_all == {*SCHEDULE}
