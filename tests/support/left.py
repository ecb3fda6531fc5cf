"""What a test must not leave behind."""

from __future__ import annotations

import psutil


def workers_left() -> list[int]:
    """Process ids of outgrow's workers that this process started and that still run; others' helpers do not count."""
    found = []
    for child in psutil.Process().children():
        try:
            if child.status() != psutil.STATUS_ZOMBIE and any("outgrow.engines.worker" in part for part in child.cmdline()):
                found.append(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found
