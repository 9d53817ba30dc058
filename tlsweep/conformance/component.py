"""What every component promises: its settings, its YAML and its functions agree."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from tlsweep import registry
from tlsweep.cli import conf_folder
from tlsweep.config.read import from_yaml
from tlsweep.section import Section

OPEN = "???"  # in YAML: a value without a default
T = TypeVar("T")


class ComponentSuite:
    """One component of a kind.

    name: what the command line calls it; options: settings that differ from those of its YAML, and
    others that its functions take.
    """

    kind: ClassVar[registry.Kind]
    asked_of: ClassVar[Mapping[str, tuple[str, ...]]]
    """Its functions, and what each is given beside its settings."""
    by_name: ClassVar[bool] = True
    """Whether they are given each setting by its name."""
    ours: ClassVar[tuple[str, ...]] = ()
    """Settings of its section that are not handed to it."""

    name: str
    options: Mapping[str, object] = MappingProxyType({})
    _kept: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._kept = {}

    def once(self, what: str, make: Callable[[], T]) -> T:
        """What is made for the first test that asks, and kept for the others of this class."""
        if what not in self._kept:
            self._kept[what] = make()
        found: T = self._kept[what]
        return found

    def file(self) -> Path:
        """Its YAML."""
        folders = (conf_folder(), *registry.conf_folders())
        places = [folder / self.kind / f"{self.name}.yaml" for folder in folders]
        there = [place for place in places if place.is_file()]
        assert there, f"no {self.kind}/{self.name}.yaml in {', '.join(map(str, folders))}"
        return there[0]

    def yaml(self) -> dict[str, Any]:
        """What its YAML says."""
        return from_yaml(self.file().read_text(encoding="utf-8"))

    def settings(self, options: Mapping[str, object] | None = None) -> Section:
        """Its settings as a config with these options has them; None: with those of the suite."""
        given, model = self.options if options is None else options, self._section
        known = {key: value for key, value in given.items() if key in model.model_fields}
        return model.model_validate({**self.yaml(), **known})

    def given(self, options: Mapping[str, object] | None = None) -> dict[str, Any]:
        """What its functions are given, by name."""
        all_of, known = self.options if options is None else options, self._section.model_fields
        more = {key: value for key, value in all_of.items() if key not in known}
        return {**self.settings(options).model_dump(exclude={"name", *self.ours}), **more}

    @property
    def _section(self) -> type[Section]:
        return registry.section(self.kind, self.name)

    # ------------------------------------------------------------------ tests
    def test_its_yaml_names_it_and_every_setting_that_it_has_and_no_other(self) -> None:
        yaml = self.yaml()
        assert yaml["name"] == self.name
        assert yaml.keys() == self._section.model_fields.keys()

    def test_its_yaml_with_the_options_passes_its_settings(self) -> None:
        unset = [key for key, value in self.yaml().items() if value == OPEN]
        assert [key for key in unset if key not in self.options] == [], "set these in options"
        settings = self.settings().model_dump()
        assert settings["name"] == self.name

    def test_its_settings_are_read_as_they_were_recorded(self) -> None:
        settings = self.settings()
        assert self._section.model_validate(settings.model_dump(mode="json")) == settings

    def test_its_functions_take_what_they_are_given(self) -> None:
        settings = self.settings().model_dump(exclude={"name", *self.ours})
        module = registry.component(self.kind, self.name)
        for function, others in self.asked_of.items():
            takes = inspect.signature(getattr(module, function)).parameters
            missing = {*(settings if self.by_name else ()), *others} - {*takes}
            assert not missing, f"{function}() does not take {', '.join(sorted(missing))}"
