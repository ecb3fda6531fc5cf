"""What travels with a job to a fresh worker: compiled kernels, so that it compiles nothing, and the modules of a person's own.

numba finds its compiled code by the path of the source file, by that file's content, by signature and by processor; native kernels
(`data.native`) are found by a hash of all of it. Only the path is a matter of where a package lies: it is put right where the code is
unpacked. Whatever else differs is seen by them, and compiled.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import site
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.store import home

__all__ = ["own_modules", "pack", "place"]

_PACKAGE = Path(__file__).parents[1]


def _cache_name(folder: Path) -> str:
    """The name of the folder in ``NUMBA_CACHE_DIR`` for the sources of a folder (numba's ``get_suitable_cache_subpath``)."""
    return f"{folder.name}_{hashlib.sha1(str(folder).encode()).hexdigest()}"  # noqa: S324 a name, no signature


def _compiled() -> Iterator[tuple[str, Path]]:
    """``(folder within the package, file)`` of all compiled code on this machine; folder "" for what is found by its name alone."""
    for file in sorted([*_PACKAGE.rglob("__pycache__/*.native"), *(home() / "kernels").glob("*.native")]):
        yield "", file
    base = os.environ.get("NUMBA_CACHE_DIR")
    for folder in sorted({file.parent for file in _PACKAGE.rglob("*.py")}):
        cache = Path(base) / _cache_name(folder) if base else folder / "__pycache__"
        for file in sorted([*cache.glob("*.nbi"), *cache.glob("*.nbc")]):
            yield folder.relative_to(_PACKAGE).as_posix(), file


def pack() -> bytes:
    """The compiled kernels of outgrow on this machine, as an archive that is the same for the same files; b"" where there are none."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz", compresslevel=1) as archive:
        found = 0
        for folder, file in _compiled():
            found += 1
            data = file.read_bytes()
            about = tarfile.TarInfo(f"{folder}/{file.name}" if folder else file.name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return held.getvalue() if found else b""


def place(data: bytes, folder: Path) -> int:
    """Unpack kernels where this process will look, which must not have imported numba yet; how many files.

    folder : becomes ``NUMBA_CACHE_DIR`` and ``OUTGROW_HOME``
    """
    os.environ |= {"NUMBA_CACHE_DIR": str(folder), "OUTGROW_HOME": str(folder)}
    placed = 0
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for about in archive:
            inside = archive.extractfile(about)
            if inside is None:
                continue
            source, _, name = about.name.rpartition("/")
            target = folder / (_cache_name(_PACKAGE / source) if source else "kernels")
            target.mkdir(parents=True, exist_ok=True)
            (target / Path(name).name).write_bytes(inside.read())
            placed += 1
    return placed


def own_modules(thing: Any) -> dict[str, bytes]:
    """The single-file modules that a pickle of `thing` names and no installation holds, as ``{"name.py": source}``."""
    names: set[str] = set()

    def look(part: Any) -> None:
        if isinstance(part, type) or callable(part):
            names.add(str(getattr(part, "__module__", "")))

    pickler = pickle.Pickler(io.BytesIO(), protocol=5)
    pickler.persistent_id = look  # type: ignore[method-assign]
    pickler.dump(thing)
    installed = (*site.getsitepackages(), sysconfig.get_path("stdlib"), str(_PACKAGE))
    files = {name: Path(str(getattr(sys.modules.get(name), "__file__", None) or "")) for name in names if "." not in name}
    return {f"{name}.py": file.read_bytes() for name, file in sorted(files.items()) if file.suffix == ".py" and not str(file).startswith(installed)}
