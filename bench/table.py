"""A table that is printed and kept as a dated file: the machine, the command, the rows."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> str:
    """The processor, its cores, and the versions that matter."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), cpu)
    builds = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pyarrow", "numba"))
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {builds}"


def once(path: Path, make: Callable[[], Any]) -> Any:
    """What a file of JSON holds, made and written where it is not there: a long table goes on after its program was ended."""
    if not path.exists():
        path.write_text(json.dumps(make()))
    return json.loads(path.read_text())


def _earlier(path: Path, head: Sequence[str]) -> tuple[str, list[list[str]]]:
    """The commands and the rows of a table that another part of the same measurement wrote today; nothing where there is none with this head."""
    lines = path.read_text().splitlines() if path.exists() else []
    table = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    if not table or table[0] != list(head):
        return "", []
    said = next((line.split("Made by ", 1)[1].rstrip(".") for line in lines if "Made by " in line), "")
    return said, table[1:]


def keep(name: str, title: str, head: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str] = (), part: int = 0) -> Path:
    """Print a Markdown table and write it to results/DATE-name.md.

    part: above 0, rows of today's file stay whose first `part` cells none of the new rows have: a measurement may be made in parts.
    """
    day = dt.datetime.now(tz=dt.UTC).date().isoformat()
    path = RESULTS / f"{day}-{name}.md"
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    made = f"`.venv/bin/python {Path(sys.argv[0]).parent.name}/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".rstrip() + "`"
    if part:
        said, held = _earlier(path, head)
        new = {tuple(row[:part]) for row in cells}
        cells = [row for row in held if tuple(row[:part]) not in new] + cells
        made = made if said in ("", made) or made in said else f"{said}, {made}"
    lines = [f"# {title}", "", f"{day}. {machine()}. Made by {made}.", ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in cells), ""]
    lines += [f"- {note}" for note in notes]
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    path.write_text(text)
    return path
