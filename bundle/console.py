"""What a person sees on the command line when something is wrong: one sentence, at the end."""

from __future__ import annotations

import difflib
import errno
import inspect
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # MONAI is imported where it is used: data and studies import this module for its words alone
    from monai.bundle import ConfigParser

_ROOT = Path(__file__).resolve().parent.parent
_VARIABLE = "SEAMLESS_TRACEBACK"
_FEW = 12
#: closed, full or broken: no error of a program
_OF_THE_SYSTEM = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
)  # fmt: skip


def did_you_mean(name: object, known: Iterable[str], prefix: str = "") -> str:
    """The end of a message about an unknown name: up to three known ones like it, and all if they are few or none is.

    Args:
        name: what was given; whether letters are capital makes no difference.
        known: what is allowed, in the order of the message.
        prefix: stands before each name of the message, as ``--`` of an option.

    >>> did_you_mean("treshold", ["threshold", "min_size"])
    'did you mean threshold? known are threshold, min_size'
    """
    spelt = {word.lower(): f"{prefix}{word}" for word in known}
    asked = str(name).lower()
    near = [asked] if asked in spelt else difflib.get_close_matches(asked, spelt, n=3)
    hint = [f"did you mean {' or '.join(spelt[word] for word in near)}?"] if near else []
    if not near or len(spelt) <= _FEW:
        hint.append(f"known are {', '.join(spelt.values()) or 'none'}")
    return " ".join(hint)


def counted(number: int, thing: str) -> str:
    """
    >>> counted(1, "image"), counted(2, "image")
    ('1 image', '2 images')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first names, and how many more there are; all where that would be one.

    >>> listed("abcde"), listed("abcdef")
    ('a, b, c, d, e', 'a, b, c, d and 2 more')
    """
    more = len(names) - most
    return ", ".join(names[:most]) + f" and {more} more" if more > 1 else ", ".join(names)


def nearest_path(path: str | os.PathLike[str]) -> Path | None:
    """The path that somebody may have meant: one name in it is misspelt, and what follows it may be missing, too.

    Args:
        path: of a file or folder that does not exist.

    Returns:
        for ``rnus/first/best.pt`` ``runs/first/best.pt``, where there is one; None where nothing is near.
    """
    path = Path(path)
    missing = next((each for each in [*reversed(path.parents), path] if not each.exists()), None)
    if missing is None or not missing.parent.is_dir():
        return None
    for rest in dict.fromkeys((path.relative_to(missing), Path())):  # the whole path, or as far as it goes
        beside = sorted(each.name for each in missing.parent.iterdir() if (each / rest).exists())
        if near := difflib.get_close_matches(missing.name, beside, 1):
            return missing.with_name(near[0]) / rest
    return None


def explain_errors() -> None:
    """From now on an error that this bundle raised ends the process with its message alone.

    MONAI's parser wraps every error in "Failed to instantiate component ..." and Python prints a chain of
    tracebacks, in which the one sentence that helps is lost. So does a file that the system refuses: closed, on a
    full disk, or on a broken one. Errors of other origin keep their traceback, and so do all with the environment
    variable SEAMLESS_TRACEBACK=1. It is the first thing of ours that a command calls, and says in one line what is
    starting; a second call does nothing.
    """
    if sys.excepthook is _hook:
        return
    sys.excepthook = _hook
    options = command_line()
    files = options.pop("config_file", None)
    if files is not None:
        names = " + ".join([files] if isinstance(files, str) else map(str, files))
        given = ", ".join(f"{name} {value}" for name, value in options.items())
        logging.getLogger(__name__).info("starting %s%s", names, f" with {given}" if given else "")


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    told = _sentence(error)
    if isinstance(error, KeyboardInterrupt) and not os.environ.get(_VARIABLE):
        print("\nstopped by Ctrl-C", file=sys.stderr)
    elif told is None or os.environ.get(_VARIABLE):
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"\nerror: {told}\n(set {_VARIABLE}=1 for the traceback)", file=sys.stderr)


def _sentence(error: BaseException) -> str | None:
    """What a person reads: what this bundle raised, or which file the system refuses; None for any other error."""
    before: BaseException | None
    cause, before = own_cause(error), error
    while cause is None and before is not None:
        if isinstance(before, OSError) and before.errno in _OF_THE_SYSTEM and before.filename:
            cause = before
        before = before.__cause__ or before.__context__
    if isinstance(cause, OSError) and cause.filename and cause.strerror:
        return f"{cause.filename} cannot be read or written ({cause.strerror})"
    return None if cause is None else str(cause)


def own_cause(error: BaseException) -> BaseException | None:
    """The first error of a chain, where this bundle raised it for the user; None for any other."""
    seen = {id(error)}
    while (before := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        if id(before) in seen:
            break
        seen.add(id(before))
        if not _raised_here(before) and _raised_here(error):
            break  # what we raised because of an error elsewhere says it better
        error = before
    return error if _raised_here(error) else None


def _raised_here(error: BaseException) -> bool:
    if not isinstance(error, (ValueError, TypeError, OSError, MemoryError, RuntimeError)):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return False
    file = Path(frames[-1].filename).resolve()
    return any(folder in file.parents for folder in (_ROOT / "bundle", _ROOT / "transforms"))


def command_line(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Option -> value, as ``monai.bundle`` reads them; None takes this process's command line."""
    from fire.parser import DefaultParseValue

    words = sys.argv[1:] if arguments is None else arguments
    return {
        word.lstrip("-").partition("=")[0]: DefaultParseValue(word.partition("=")[2] or following)
        for word, following in zip(words, [*words[1:], ""], strict=False)  # an empty line has none
        if re.match(r"--?[^\W\d]", word)
    }


def true_or_false(value: bool | str, name: str) -> bool:
    """A yes or no of the command line, which hands ``--resume false`` over as text.

    Raises:
        ValueError: for another word.
    """
    words = {"true": True, "false": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() not in words:
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return words[str(value).lower()]


def require_known_options(arguments: Sequence[str] | None = None) -> None:
    """Check that the options of ``monai.bundle run`` name entries of its config files, and that MONAI uses them.

    MONAI adds an unknown option to the config, where nobody reads it: ``--max_epoch 3`` would silently train for
    the default number of epochs. It also drops an option whose value is None: ``--network_def#norm None``
    would train with the norm of the config.

    Args:
        arguments: of the command line; None takes this process's. Without ``--config_file`` nothing is checked.

    Raises:
        ValueError: naming the option and the nearest known ones, or how None is written; for an overlay that stands
            before the config that it changes, where it has no effect.
    """
    from monai.bundle import ConfigParser
    from monai.bundle.scripts import run

    options = command_line(arguments)
    if "config_file" not in options:
        return
    files = options["config_file"]
    for file in [] if isinstance(files, str) else files[1:]:
        if "imports" in ConfigParser.load_config_file(file):  # no overlay: it has every entry
            raise ValueError(f"config_file: {file} replaces what stands in {files[0]} before it: put {file} first")
    config = ConfigParser()
    config.read_config(options["config_file"])
    own = set(config.get())
    for name, value in options.items():
        if re.split("#|::", name)[0] in own or name in inspect.signature(run).parameters:
            if value is None:
                raise ValueError(f"MONAI ignores an option whose value is None: write --{name} '$None'")
            _require_known_within(config, name, options)
            continue
        within = [
            f"{parent}#{name}" for parent, entry in config.get().items() if isinstance(entry, dict) and name in entry
        ]
        raise ValueError(
            f"unknown option --{name}: "
            + (f"did you mean --{' or --'.join(within)}?" if within else did_you_mean(name, sorted(own), "--"))
        )


def _require_known_within(config: ConfigParser, name: str, options: Mapping[str, Any]) -> None:
    """Of ``cells#threshold`` the last part; a mapping is a new entry, not a value.

    Raises:
        ValueError: naming the option and what there is.
    """
    from monai.bundle import ConfigComponent

    parent, _, last = name.replace("::", "#").rpartition("#")
    if not parent or last.startswith("_") or isinstance(options[name], Mapping):
        return
    there = config.get(parent, {})
    if ConfigComponent.is_instantiable(there):
        target = ConfigComponent({**there, "_target_": options.get(f"{parent}#_target_", there["_target_"])})
        there = _arguments(target.resolve_module_name())
    if isinstance(there, Mapping) and last not in there:
        raise ValueError(f"unknown option --{name}: {did_you_mean(last, there, f'--{parent}#')}")


def _arguments(target: str) -> Mapping[str, Any] | None:
    """The arguments of a component; None where they are not known, or any name is allowed."""
    try:
        parameters = inspect.signature(locate(target)).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError, ErrorDuringImport):
        return None
    return None if any(one.kind is one.VAR_KEYWORD for one in parameters.values()) else parameters


def require_own(*modules: ModuleType) -> None:
    """Check that the packages imported are this bundle's, not a stray ``transforms.py`` of the working directory.

    Raises:
        ImportError: naming the file that is in the way.
    """
    for module in modules:
        expected = _ROOT / module.__name__ / "__init__.py"
        found = Path(module.__file__ or "").resolve()
        if found != expected:
            raise ImportError(
                f"'import {module.__name__}' finds {found} instead of this bundle's {expected}: rename that file, or "
                "run from the bundle's own folder"
            )
