"""The one direction of imports, read from the source of every file, and what importing the package may not load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "outgrow"
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"pyarrow", "numba", "llvmlite", "scipy", "sklearn", "pandas", "polars", "torch", "pyspark", "fsspec", "rich", "kubernetes", "confluent_kafka", "dask"}
PARTS = {"core", "data", "learn", "adapt", "compress", "stream", "check", "plan", "engines", "cli", "places", "sklearn"}
BELOW = {
    "core": set(),
    "places": {"core"},
    "data": {"places", "core"},
    "learn": {"data", "core"},
    "adapt": {"data", "core"},
    "compress": {"data", "core"},
    "stream": {"data", "core"},
    "engines": {"places", "core"},
    "check": {"engines", "data", "core"},  # the laws compare engines
    "plan": {"engines", "learn", "data", "core"},
    "sklearn": {"plan", "learn", "data", "core"},  # a face
    "cli": PARTS,
}
# Here a file may import a heavy library at its top; whoever is light imports that file inside a function.
HEAVY_FILES = ("learn/kernels/", "learn/online_one.py", "data/", "sklearn/")


def part_of(file: Path) -> str:
    inside = file.relative_to(PACKAGE).parts
    return inside[0] if len(inside) > 1 else ""


def imports(file: Path) -> Iterator[tuple[str, int, bool]]:
    """(absolute module, line, at the top level) of every import; for ``from a import b`` both a and a.b."""
    tree = ast.parse(file.read_text())
    package = ["outgrow", *file.relative_to(PACKAGE).parts[:-1]]
    late = {id(inner) for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) for inner in ast.walk(node)}
    typing_only = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno, id(node) not in late | typing_only
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module, node.lineno, id(node) not in late | typing_only
            for name in node.names:
                yield f"{module}.{name.name}", node.lineno, id(node) not in late | typing_only


def own_part(module: str) -> str:
    """The part of outgrow that a module lies in; "" for the face or another package."""
    words = module.split(".")
    return words[1] if words[0] == "outgrow" and len(words) > 1 and words[1] in PARTS else ""


def test_files__are_found_and_every_folder_is_a_known_part() -> None:
    assert len(FILES) > 20
    assert {part_of(file) for file in FILES} - {""} <= set(BELOW)


@pytest.mark.parametrize("part", sorted(BELOW))
def test_parts__import_only_what_lies_below(part: str) -> None:
    wrong = [
        f"{file.relative_to(PACKAGE)}:{line} imports {module}"
        for file in FILES
        if part_of(file) == part
        for module, line, _ in imports(file)
        if own_part(module) not in BELOW[part] | {part, ""}
    ]
    assert not wrong, "\n".join(wrong)


def test_parts__below_the_faces__import_no_face() -> None:
    faces = {f"outgrow.{file.stem}" for file in PACKAGE.glob("*.py") if file.stem != "__init__"}
    wrong = [
        f"{file.relative_to(PACKAGE)}:{line} imports {module}" for file in FILES if part_of(file) in ("core", "engines") for module, line, _ in imports(file) if module in faces
    ]
    assert not wrong, "\n".join(wrong)


def test_core__imports_nothing_but_the_standard_library_numpy_and_threadpoolctl() -> None:
    allowed = set(sys.stdlib_module_names) | {"numpy", "threadpoolctl", "outgrow", "__future__"}
    wrong = [
        f"{file.relative_to(PACKAGE)}:{line} imports {module}"
        for file in FILES
        if part_of(file) == "core"
        for module, line, _ in imports(file)
        if module.partition(".")[0] not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def heavy_files() -> dict[str, str]:
    """Files that load a heavy library when they are imported, directly or through others, and through which."""
    names = {"outgrow." + ".".join(file.relative_to(PACKAGE).with_suffix("").parts): file for file in FILES}
    tops = {name: {module for module, _, top in imports(file) if top} for name, file in names.items()}
    found = {name: next(iter(hit)) for name, modules in tops.items() if (hit := {m for m in modules if m.partition(".")[0] in HEAVY})}
    while more := {name: next(iter(hit)) for name, modules in tops.items() if name not in found and (hit := modules & set(found))}:
        found |= more
    return {str(names[name].relative_to(PACKAGE)): why for name, why in found.items()}


def test_heavy_libraries__are_loaded_only_by_files_that_are_loaded_when_used() -> None:
    found = heavy_files()
    assert any(file.startswith("learn/kernels/") for file in found), "the search finds what is there"
    wrong = {file: why for file, why in found.items() if not file.startswith(HEAVY_FILES)}
    assert not wrong


@pytest.mark.parametrize("module", ["outgrow", "outgrow.cli.main", "outgrow.core.run", "outgrow.engines.processes"])
def test_importing__loads_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{name.partition('.')[0] for name in sys.modules}} & {HEAVY!r}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "[]\n", ended.stderr


def test_public_names__load_no_heavy_library_until_rows_are_read() -> None:
    """Learners are named, described and checked by the command line before a file is opened."""
    code = f"import sys, outgrow as og; [getattr(og, name) for name in og.__all__ if name != 'read']; print(sorted({{name.partition('.')[0] for name in sys.modules}} & {HEAVY!r}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "[]\n", ended.stderr
