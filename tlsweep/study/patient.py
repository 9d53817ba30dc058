"""A study's database on a server: what is asked of it waits while the server is away.

Servers are restarted, and networks fail for a minute. A trial that has trained for an hour does not
end by that.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from tlsweep.errors import masked

AWAY = 600.0  # seconds that it may be away
QUIET = 60.0  # seconds in which that is said once
_PAUSES = (0.1, 0.3, 1.0, 3.0)  # seconds before it is asked again; the last one from then on
# what Optuna's storages do, more than their base class asks of them: by number, without all trials
_MORE = (
    "get_trial_id_from_study_id_trial_number", "get_trial_number_from_id", "get_trial_param",
    "get_trial_params", "get_trial_user_attrs", "get_trial_system_attrs", "get_n_trials",
    "get_best_trial", "remove_session",
)  # fmt: skip


def is_away(error: BaseException) -> bool:
    """Whether an error says that the server cannot be reached now; not that it refused."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(cause, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError):
        return True
    if isinstance(cause, sqlalchemy.exc.DBAPIError):
        return bool(cause.connection_invalidated)
    code = getattr(cause, "code", None)  # of gRPC's errors, which need not be installed
    return callable(code) and getattr(code(), "name", "") in ("UNAVAILABLE", "CANCELLED")


class _Patient(BaseStorage):
    """``inner``, asked again while it is away.

    An answer may be lost after the database had done what was asked: what would then be done twice
    is looked for first.
    """

    def __init__(self, inner: BaseStorage, called: str, seconds: float = AWAY) -> None:
        self._inner, self._called, self._seconds = inner, called, seconds
        self._said = -math.inf  # when it was last said that the server is away
        for name in ("trial_states", "set_trial_user_attrs"):  # of a database, not of a proxy
            if hasattr(inner, name):
                setattr(self, name, partial(self.ask, name))

    def ask(
        self, name: str, *given: Any, again: Callable[[], Any] | None = None, **options: Any
    ) -> Any:
        """What a method of ``inner`` returns. again: is tried first from the second time on."""
        deadline, tries = None, 0
        while True:
            try:
                if tries and again is not None and (found := again()) is not None:
                    return found
                return getattr(self._inner, name)(*given, **options)
            except Exception as error:
                if not is_away(error):
                    raise
                now = time.monotonic()
                if deadline is None:
                    deadline = now + self._seconds
                    self._say(error)
                if now > deadline:
                    raise
            time.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1

    def _say(self, error: Exception) -> None:
        if time.monotonic() - self._said < QUIET:
            return
        self._said = time.monotonic()
        details = getattr(error, "details", None)  # of gRPC's errors
        reason = details() if callable(details) else str(error.__cause__ or error)
        reason = masked(str(reason)).splitlines()[0]
        warnings.warn(
            f"{self._called} is away ({reason}): waiting for it, at most {self._seconds:g} s",
            RuntimeWarning,
            stacklevel=5,
        )


def _asked(name: str) -> Callable[..., Any]:
    def method(self: _Patient, *given: Any, **options: Any) -> Any:
        return self.ask(name, *given, **options)

    method.__name__ = name
    return method


def _create_new_trial(
    self: _Patient, study_id: int, template_trial: FrozenTrial | None = None
) -> int:
    def entered() -> int | None:
        if template_trial is None or not template_trial.user_attrs:
            return None  # whether it was made cannot be seen; one too many does no harm
        wanted = template_trial.user_attrs.items()
        open_or_same = (TrialState.WAITING, TrialState.RUNNING, template_trial.state)
        for trial in self.get_all_trials(study_id, deepcopy=False, states=open_or_same):
            if wanted <= trial.user_attrs.items():
                return int(trial._trial_id)
        return None

    return int(self.ask("create_new_trial", study_id, template_trial, again=entered))


def _set_trial_state_values(
    self: _Patient, trial_id: int, state: TrialState, values: Any = None
) -> bool:
    def done() -> bool | None:
        # whoever took a trial meanwhile may be another one: that is not said to be us
        same = self._inner.get_trial(trial_id)
        return True if state.is_finished() and same.state == state else None

    return bool(self.ask("set_trial_state_values", trial_id, state, values, again=done))


_METHODS: dict[str, Any] = {
    **{name: _asked(name) for name in (*BaseStorage.__abstractmethods__, *_MORE)},
    "create_new_trial": _create_new_trial,
    "set_trial_state_values": _set_trial_state_values,
}
Patient: type[_Patient] = type("Patient", (_Patient,), _METHODS)
