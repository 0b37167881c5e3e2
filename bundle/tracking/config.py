"""A config as it was executed: as plain values, as flat parameters, and the parser that is running."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigExpression, ConfigParser

# what a bundle runs, not what it runs with
_SEQUENCES = ("initialize", "run", "finalize", "training", "evaluating", "inference", "checking")
_DEFAULTS = Path(__file__).resolve().parents[2] / "configs" / "train.json"
#: how it is measured and recorded, which configs/evaluate.json changes for every evaluation alike, and where
_NOT_VARIED = {
    "tracker", "trained", "parts", "predictor", "int8", "calibrate", "validate", "grid",
    "bundle_root", "output_dir", "evaluation_dir", "model_file", "run_name", "experiment_name", "tracking_uri",
}  # fmt: skip


def executed_config(config: Mapping[str, Any] | ConfigParser) -> Any:
    """A config as plain JSON values: what is neither text, number, list nor mapping becomes its ``str``.

    Overrides given from Python may hold a ``torch.device``, a path or a function, on which ``json.dump`` fails.

    Raises:
        TypeError: when ``config`` is neither a mapping nor a :class:`monai.bundle.ConfigParser`.
    """
    if isinstance(config, ConfigParser):
        config = config.get()
    if not isinstance(config, Mapping):
        raise TypeError(f"config must be a mapping or a monai.bundle.ConfigParser, got {type(config).__name__}")
    return _plain(config)


def flat_config(config: Mapping[str, Any] | ConfigParser) -> Iterator[tuple[str, str]]:
    """Every value of a config with its path, as ``("optimizer.lr", "0.02")`` or ``("load.0._target_", "Compose")``.

    Text stays as it stands in the config, "@..." and "$..." unresolved; all else is JSON (``null``, ``true``, ``[]``).
    Left out are keys beginning with "_" other than "_target_", import statements, and the expressions that a run
    executes: the lists initialize, run, finalize, training, evaluating, inference and
    checking.

    Raises:
        TypeError: see :func:`executed_config`.
    """
    plain = executed_config(config)
    return _leaves({key: value for key, value in plain.items() if key not in _SEQUENCES or isinstance(value, dict)})


def changed_config(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of :func:`flat_config` the values that overlays or the command line gave ``configs/train.json``.

    References, expressions, places and what makes an evaluation of it are left out. Nothing for a config that was
    not made from that file.
    """
    try:
        defaults = json.loads(_DEFAULTS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if defaults.keys() <= config.keys():
        known = dict(flat_config(defaults))
        for path, text in flat_config(config):
            varied = path.split(".")[0] not in _NOT_VARIED and not text.startswith(("@", "$", "%"))
            if varied and known.get(path) != text:
                yield path, text


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if key == "_target_" or not str(key).startswith("_"):
                yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif not isinstance(value, str):
        yield path, json.dumps(value)
    elif not ConfigExpression.is_import_statement(value):
        yield path, value


def running_config() -> dict[str, Any] | None:
    """The config that is being parsed or run, overrides of the command line included.

    None when the code was not called from a config.
    """
    parser = running_parser()
    return None if parser is None else executed_config(parser)


def running_parser() -> ConfigParser | None:
    """The parser of the config that is being parsed or run; None outside of one.

    ``monai.bundle run`` hands its parser to nobody, and a config cannot refer to itself as a whole; the parser is
    found as the ``self`` of one of the callers.
    """
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        parser = owner if isinstance(owner, ConfigParser) else getattr(owner, "parser", None)
        if isinstance(parser, ConfigParser):
            return parser
        frame = frame.f_back
    return None


def resolved(parser: ConfigParser | None, name: str) -> Any:
    """An entry of a config with its references resolved; None where it, the entry that it is part of, or the config is
    not there."""
    return None if parser is None or parser.get(name) is None else parser.get_parsed_content(name)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)
