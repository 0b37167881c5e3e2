"""One Python file that holds a network's code without the rest of this bundle, as packages want it."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections import Counter
from collections.abc import Iterator
from types import ModuleType

from torch import nn

from bundle.inference.packages import wrapper

#: function of the file that builds the network
BUILDER = "packaged_network"
_HEAD = '''"""The network of this package: {name}, from seamless-unet (Apache-2.0), made from its modules."""

from __future__ import annotations
'''
_END = '''

def {builder}(**arguments):
    """The network between mirroring and softmax; its arguments stand in rdf.yaml."""
    return PackagedNetwork({name}(**arguments))
'''


def architecture(network: type[nn.Module]) -> str:
    """The modules that a network is made of as one file, which needs torch alone.

    Args:
        network: a class of :mod:`bundle.networks`.

    Returns:
        Python code; its function :data:`BUILDER` takes the network's arguments and gives a
        :class:`bundle.inference.packages.wrapper.PackagedNetwork`.

    Raises:
        RuntimeError: when two modules use one name for different things.
    """
    modules: dict[str, ModuleType] = {}
    for module in (wrapper, inspect.getmodule(network)):
        assert module is not None
        _collect(module, modules)
    trees = {name: ast.parse(inspect.getsource(module)) for name, module in modules.items()}
    defined = Counter(name for tree in trees.values() for name in _names(tree))
    if twice := [name for name, count in defined.items() if count > 1]:
        raise RuntimeError(f"several modules of {network.__name__} define {', '.join(twice)}: rename one of them")
    parts = [_HEAD.format(name=network.__name__)]
    for name, module in modules.items():
        parts.append(f"\n# {name}\n\n{_body(inspect.getsource(module), trees[name])}")
    return "\n".join([*parts, _END.format(builder=BUILDER, name=network.__name__)])


def _collect(module: ModuleType, modules: dict[str, ModuleType]) -> None:
    """What a module of the bundle imports of it, before itself."""
    if module.__name__ in modules:
        return
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bundle."):
            source = importlib.import_module(node.module or "")
            for alias in node.names:  # a room hands on what its modules define
                home = getattr(getattr(source, alias.name), "__module__", "")
                _collect(importlib.import_module(home) if home.startswith("bundle.") else source, modules)
    modules[module.__name__] = module


def _names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (part.id for part in node.targets if isinstance(part, ast.Name))


def _body(source: str, tree: ast.Module) -> str:
    """A module without its docstring and imports of the bundle."""
    lines = source.splitlines()
    for node in tree.body:
        ours = isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("bundle", "__future__")
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if ours or text:
            assert node.end_lineno is not None
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return "\n".join(lines).strip()
