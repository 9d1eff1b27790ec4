"""Imports point down the table of the layers, the lazy ones too, and no package has a circle inside."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Each may import those before it, of faces training only its geometry and its metrics, of media nothing.
LAYERS = ("utils", "files", "resnet", "linknet", "dataset", "runtimes", "faces", "media", "training")
PROGRAMS = ("faceseg", "infer", "train", "evaluate", "tools")  # nothing imports one, but infer faceseg
MAY_IMPORT = {
    **{name: set(LAYERS[:place]) for place, name in enumerate(LAYERS)},
    "training": {*LAYERS[:6], "faces.crops", "faces.mask", "faces.metrics"},
    **{name: {*LAYERS, "faceseg"} for name in PROGRAMS},
    "faceseg": set(LAYERS),
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__init__", "")


FILES = [path for name in MAY_IMPORT for path in (*ROOT.glob(f"{name}.py"), *ROOT.glob(f"{name}/**/*.py"))]
MODULES = {module_name(path): path for path in FILES}


def imports(module: str) -> set:
    """Return the modules of ours that a module imports, at its top or within a function."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports by a relative name"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & MODULES.keys() - {module}


def package(module: str) -> str:
    return module.partition(".")[0]


def test_imports_point_down():
    assert len(MODULES) > 40
    upward = [
        f"{module} imports {other}"
        for module in MODULES
        for other in sorted(imports(module))
        if not {other, package(other)} & (MAY_IMPORT[package(module)] | {package(module)})
    ]
    assert upward == []


def test_no_circle():
    def reached(module: str, way: tuple) -> None:
        assert module not in way, f"a circle: {' imports '.join((*way[way.index(module) :], module))}"
        if module not in done:
            for other in graph[module]:
                reached(other, (*way, module))
            done.add(module)

    graph, done = {module: imports(module) for module in MODULES}, set()
    for module in MODULES:
        reached(module, ())
