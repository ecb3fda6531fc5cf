"""Is the memory budget kept? The 10 M-row click log within 1 GB and 4 GB, on one process and on two, once inside a cgroup of that size.

    .venv/bin/python bench/memory.py [--folder DIR]

Peak: private and shared-memory pages of all processes, summed, as the run samples them; mapped file pages apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import clicklog
from table import keep

CGROUPS = Path("/sys/fs/cgroup")
OLD = (CGROUPS / "memory").is_dir()  # version 1 of cgroups
OUTGROW = str(Path(sys.executable).with_name("outgrow"))


def fit(data: list[str], budget: str, on: str | None, folder: Path, *, cgroup: Path | None = None) -> dict[str, Any]:
    """The record of one `outgrow fit`; in `cgroup` where one is given."""
    where = ["--on", on] if on else []
    command = [OUTGROW, "fit", *data, "--target", "click", "--memory", budget, *where, "--fresh", "--json", "--out", str(folder / "memory.model")]

    def enter() -> None:
        if cgroup is not None:
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))

    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=enter, env={**os.environ, "OUTGROW_HOME": str(folder / "home")})
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.gettempdir()) / "clicklog-5000000"
    clicklog.generate(folder, train=5_000_000)
    twin = folder / "twin.parquet"
    if not twin.exists():
        os.link(folder / "train.parquet", twin)
    data = [str(folder / "train.parquet"), str(twin)]
    tries = [(budget, on) for budget in ("1GB", "4GB") for on in ("serial", "processes:2")]
    rows: list[list[object]] = [[budget, on, "", *_figures(fit(data, budget, on, folder))] for budget, on in tries]
    small = fit(data, "100MB", "serial", folder)
    notes = [f"--memory 100MB: {small.get('error', 'accepted')}"]
    cgroup = CGROUPS / ("memory" if OLD else "") / f"outgrow-bench-{os.getpid()}"
    try:
        cgroup.mkdir()
        (cgroup / ("memory.limit_in_bytes" if OLD else "memory.max")).write_text("1000000000")
    except OSError as error:
        notes.append(f"no cgroup could be made here ({error.strerror})")
    else:
        rows.append(["1GB", "processes:2", "of 1 GB", *_figures(fit(data, "1GB", "processes:2", folder, cgroup=cgroup))])
    finally:
        if cgroup.exists():
            cgroup.rmdir()
    head = ["budget", "on", "cgroup", "MB predicted", "MB peak", "ratio", "MB of mapped files", "seconds", "digest"]
    keep("memory", "The memory budget on 10 M rows of the click log", head, rows, notes)


def _figures(record: dict[str, Any]) -> list[object]:
    if "error" in record:
        return [record["error"], "", "", "", "", ""]
    predicted, peak = record["predicted"]["peak_bytes"] or 0, record["peak_bytes"]
    return [round(predicted / 1e6), round(peak / 1e6), f"{predicted / peak:.2f}", round(record["peak_file_bytes"] / 1e6), record["seconds"], record["digest"][:8]]


if __name__ == "__main__":
    main()
