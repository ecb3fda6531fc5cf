"""The look at a source: what its metadata and sample say, before a row is learned from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from .budget import show_bytes

__all__ = ["Look", "look"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was found.

    rows: exact where `counted`, else from the sample's bytes a row. bytes: as stored. row_bytes: of one decoded row.
    group_rows: rows of the largest run that is decoded from its start (a Parquet row group); 0 where reading begins anywhere.
    """

    format: str
    files: int
    rows: int
    counted: bool
    cuttable: bool
    bytes: int
    row_bytes: int
    group_rows: int
    kinds: tuple[tuple[str, int], ...]
    target: str
    task: str
    classes: int
    missing: int
    sampled: int

    def __str__(self) -> str:
        about = "" if self.counted else "about "
        files = f"{self.files} {self.format} file{'s' if self.files != 1 else ''}" if self.format != "memory" else "memory"
        columns = ", ".join(f"{count} {kind}" for kind, count in self.kinds)
        target = {"binary": f"{self.target} (2 classes)", "classes": f"{self.target} ({self.classes} classes)", "number": f"{self.target} (a number)"}.get(self.task, "none")
        some = f"; {self.missing} of {self.sampled} sampled rows lack a value" if self.missing else ""
        lines = [
            f"{about}{self.rows:,} rows in {files}, {show_bytes(self.bytes)} as stored, about {show_bytes(self.rows * self.row_bytes)} decoded",
            f"columns to learn from: {columns}; target: {target}{some}",
        ]
        return "\n".join(lines)


def look(source: Any) -> Look:
    """What a source says of itself; reads no rows beyond the sample taken when it was made."""
    schema, files = source.schema, source.files
    counted = all(info.rows is not None for info in files)
    sizes = [b - a for info in files for a, b in zip(info.cuts[:-1], info.cuts[1:], strict=True)]
    kinds = Counter(item.kind for item in schema.inputs)
    return Look(
        format=source.store.format,
        files=len(files),
        rows=source.rows if counted else source.estimate_rows(),
        counted=counted,
        cuttable=counted and bool(source.cuttable),
        bytes=source.bytes,
        row_bytes=max(1, source.row_bytes),
        group_rows=max(sizes, default=0) if source.store.format == "parquet" else 0,
        kinds=tuple(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
        target=schema.target,
        task=schema.task,
        classes=len(schema.classes),
        missing=max((item.missing for item in schema.inputs), default=0),
        sampled=schema.sampled,
    )
