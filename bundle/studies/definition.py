"""What a study is: variants of a training, each several times, and what is measured of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from fire.parser import DefaultParseValue

from bundle.console import did_you_mean

#: options that the study gives its runs itself
_OWN = (
    *("run_name", "output_dir", "model_file", "publish", "dataset_dir", "seed", "fold", "resume", "tags"),
    *("experiment_name", "tracking_uri", "checkpoint", "part", "tta", "evaluation_dir"),
)


@dataclass(frozen=True)
class Variant:
    """One of the trainings that are compared.

    Attributes:
        name: in the names of its runs.
        label: in the table and the chart.
        config_files: overlays on top of the study's.
        options: as on the command line, ``{"network_def#dropout": 0.0}``.
    """

    name: str
    label: str
    config_files: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """Variants that differ in the value of one option, a list of whole numbers.

    Attributes:
        name: of the values: in the labels, and the option of the command line that gives further ones.
        option: which the value is given to, ``"network_def#kernels"``.
        values: ``((4, 8, 16), (4, 8, 10))``; the variants are named ``4-8-16`` and ``4-8-10``.
    """

    name: str
    option: str
    values: tuple[tuple[int, ...], ...]

    @staticmethod
    def name_of(value: Iterable[int]) -> str:
        return "-".join(map(str, value))

    @staticmethod
    def value_of(variant: str) -> tuple[int, ...] | None:
        """The value that a variant's name stands for; None when the variant is of no grid."""
        numbers = variant.split("-")
        return tuple(map(int, numbers)) if all(map(str.isdecimal, numbers)) else None

    def with_values(self, values: Any) -> Grid:
        """With further values, each once.

        Raises:
            ValueError: for what is no list of lists of integers of at least 1.
        """
        lists = isinstance(values, Sequence) and all(isinstance(value, Sequence) and value for value in values)
        if not lists or not values or any(type(number) is not int or number < 1 for v in values for number in v):
            raise ValueError(
                f"{self.name} must be a list of lists of integers of at least 1, such as [[4, 8, 16]], got {values!r}"
            )
        return replace(self, values=tuple(dict.fromkeys([*self.values, *map(tuple, values)])))

    def variants(self) -> dict[str, Variant]:
        return {
            self.name_of(value): Variant(
                self.name_of(value), f"{self.name} {', '.join(map(str, value))}", options={self.option: list(value)}
            )
            for value in self.values
        }


@dataclass(frozen=True)
class Study:
    """A study file, checked.

    Attributes:
        name: the stem of the file.
        title: above the chart.
        description: the file's ``_desc_``.
        config_files: common to all variants.
        options: common to all variants, as on the command line.
        seeds, folds: a training for each seed and fold; None: no folds.
        variants: by name; the first is the reference.
        evaluation_files: on top of the training's config files.
        part: of the data that is measured, "held_out", "validation" or "all".
        tta: test-time augmentations with which every variant is measured.
        reference_tta: those of the reference, which may have more, in this order.
        metrics: name -> label.
        grid: which of the variants were made from a list of values; None: each is written out.
    """

    name: str
    title: str
    description: str
    config_files: tuple[str, ...]
    options: Mapping[str, Any]
    seeds: tuple[int, ...]
    folds: tuple[int, ...] | None
    variants: Mapping[str, Variant]
    evaluation_files: tuple[str, ...]
    part: str
    tta: tuple[str, ...]
    reference_tta: tuple[str, ...]
    metrics: Mapping[str, str]
    grid: Grid | None = None

    @property
    def reference(self) -> str:
        """Name of the variant that the others are compared with."""
        return next(iter(self.variants))

    def tta_of(self, variant: str) -> tuple[str, ...]:
        """With which test-time augmentations a variant is measured."""
        return self.reference_tta if variant == self.reference else self.tta

    def files_of(self, variant: str) -> tuple[str, ...]:
        """Config files of a variant's trainings."""
        return (*self.config_files, *self.variants[variant].config_files)

    def settings_of(self, variant: str) -> dict[str, Any]:
        """Options of a variant's trainings."""
        return {**self.options, **self.variants[variant].options}

    def with_options(self, options: Mapping[str, Any]) -> Study:
        """The study with further common options.

        Raises:
            ValueError: for an option that the study sets itself.
        """
        check_options(options, f"study {self.name}")
        return replace(self, options={**self.options, **options})

    def with_values(self, values: Any) -> Study:
        """The study with further values of its grid, whose variants come after those of the file's values.

        Raises:
            ValueError: as :meth:`Grid.with_values`.
        """
        assert self.grid is not None  # for those who have seen that there is one
        grid = self.grid.with_values(values)
        return replace(self, grid=grid, variants={**grid.variants(), **self.variants})

    def choose(
        self, variants: Iterable[str] | None = None, seeds: Sequence[int] | None = None
    ) -> list[tuple[str, int, int | None]]:
        """(variant, seed, fold) of the trainings; None leaves what the study says.

        The variants alternate, so that after the first pass there is one of each.

        Raises:
            ValueError: for a variant that is not in the study, and what is no seed.
        """
        wanted = list(map(str, self.variants if variants is None else variants))
        for name in wanted:
            if name not in self.variants:
                raise ValueError(f"study {self.name} has no variant {name!r}: {did_you_mean(name, self.variants)}")
        if seeds is not None:
            check_numbers(seeds, f"seeds of study {self.name}")
        repeats = product(self.seeds if seeds is None else seeds, self.folds or (None,))
        return [(variant, seed, fold) for seed, fold in repeats for variant in self.variants if variant in wanted]


def options_of(words: Sequence[str]) -> dict[str, Any]:
    """``--name value`` or ``--name=value`` of a command line, values read as ``fire`` reads them.

    Raises:
        ValueError: naming the word at which an option or its value is missing.
    """
    options = {}
    rest = iter(words)
    for word in rest:
        name, given, text = word.removeprefix("--").partition("=")
        value = text if given else next(rest, None)
        if not word.startswith("--") or value is None:
            raise ValueError(f"an option and its value are expected at {word!r}")
        options[name] = DefaultParseValue(value)
    return options


def check_options(options: Any, where: str) -> None:
    """Check that options are a mapping, and none of them one that a study gives every run itself.

    Raises:
        ValueError: otherwise.
    """
    if not isinstance(options, Mapping):
        raise ValueError(f"options of {where} must be a mapping, got {options!r}")
    for name in options:
        if re.split("#|::", name)[0] in _OWN:
            raise ValueError(f"option {name!r} cannot be one of {where}: a study sets it itself, for every run")


def check_numbers(numbers: Any, what: str) -> None:
    """Check that seeds or folds are a list of different integers of at least 0.

    Raises:
        ValueError: otherwise.
    """
    whole = isinstance(numbers, Sequence) and all(type(number) is int and number >= 0 for number in numbers)
    if not whole or not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"{what} must be a list of different integers of at least 0, got {numbers!r}")
