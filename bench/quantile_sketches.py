"""Three ways to keep quantiles of a column in one pass: rank errors at equal bytes, and processor time.

    quantile_sketches.py [--rows N] [--seeds S]          half a minute

- buffers: outgrow's `Quantiles`, sorted buffers that are halved as they meet, lanes meeting in a tree;
- sample: the k rows of smallest hash, with their hashes (any order of rows gives the same bits);
- grid: counts over the leading bits of the values, as many bits as keep at most k bins (any order too).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from table import keep

import outgrow as og
from outgrow.core.rng import hash64
from outgrow.core.state import nbytes
from outgrow.core.tree import Closer
from outgrow.data.features.quantiles import Quantiles

SHARES = np.linspace(0.005, 0.995, 100)
LANES = 16


def columns(n: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "normal": rng.normal(size=n),
        "log-normal, sigma 3": rng.lognormal(sigma=3, size=n),
        "normal, sorted": np.sort(rng.normal(size=n)),
        "95 % in 1e9 + [0, 1], 5 % normal": np.where(rng.random(n) < 0.95, 1e9 + rng.random(n), rng.normal(size=n)),
    }


def buffers(x: Any, error: float, seed: int) -> tuple[Any, int]:
    fold, source = Quantiles.of(["x0"], error, seed), og.read(x[:, None])
    closer = Closer(LANES, lambda a, b: fold.merge(a, b, {}))
    edges = np.linspace(0, len(x), LANES + 1).astype(int)
    for lane in range(LANES):
        state = fold.init({})
        for batch in source.read(int(edges[lane]), int(edges[lane + 1]), 16384):
            state = fold.update(state, batch, {})
        closer.add(0, lane, state)
    state = closer.close()
    return fold.quantiles(state, SHARES)[0], nbytes(state)


def sample(x: Any, size: int, seed: int) -> tuple[Any, int]:
    k = size // 16
    hashes = hash64(seed, "sample", np.arange(len(x)))
    return np.quantile(x[np.argpartition(hashes, k)[:k]], SHARES), 16 * k


def grid(x: Any, size: int, _seed: int) -> tuple[Any, int]:
    """Bins and counts, 16 bytes each; a quantile lies in the middle of its bin."""
    bits = x.view(np.int64)
    keys = np.where(bits < 0, ~bits, bits | np.int64(-(2**63))).view(np.uint64)
    for drop in range(63):
        found, counts = np.unique(keys >> np.uint64(drop), return_counts=True)
        if len(found) <= size // 16:
            break
    at = found[np.searchsorted(np.cumsum(counts), SHARES * (len(x) - 1), side="right")]
    middle = (at << np.uint64(drop)) | np.uint64((1 << drop) >> 1)
    back = np.where(middle >> np.uint64(63), middle ^ np.uint64(1 << 63), ~middle)
    return back.view(np.float64), 16 * len(found)


def misses(x: Any, ways: Callable[[int], tuple[Any, int]], seeds: int) -> tuple[float, float, int, float]:
    """The median over seeds of the largest rank error, the largest of all, bytes, and processor seconds a fit."""
    ordered, worst = np.sort(x), []
    began = time.process_time()
    answers = [ways(seed) for seed in range(seeds)]
    seconds = (time.process_time() - began) / seeds
    for found, _ in answers:
        below, upto = np.searchsorted(ordered, found, "left"), np.searchsorted(ordered, found, "right")
        wanted = SHARES * (len(x) - 1)
        worst.append(float(np.maximum(np.maximum(below - wanted, wanted - upto), 0).max()) / len(x))
    return float(np.median(worst)), max(worst), answers[0][1], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    rows: list[list[object]] = []
    for name, x in columns(args.rows).items():
        for error in (0.01, 0.002):
            ours = misses(x, lambda seed, x=x, error=error: buffers(x, error, seed), args.seeds)  # type: ignore[misc]
            others = {"sample": sample, "grid": grid}
            found = {"buffers": ours} | {
                kind: misses(x, lambda seed, way=way, x=x, size=ours[2]: way(x, size, seed), args.seeds if kind == "sample" else 1)  # type: ignore[misc]
                for kind, way in others.items()
            }
            for kind, (middle, worst, size, seconds) in found.items():
                rows.append([name, kind, f"{size:,}", f"{100 * middle:.3f} %", f"{100 * worst:.3f} %", f"{100 * error} %" if kind == "buffers" else "", seconds])
    keep(
        "quantile-sketches",
        f"Quantiles of one column of {args.rows:,} rows in one pass: rank errors at equal bytes",
        ["column", "way", "bytes", "largest rank error, median over seeds", "worst of seeds", "promised", "processor s"],
        rows,
        [f"100 quantiles, {args.seeds} seeds (the grid has none); buffers meet over {LANES} lanes; the times of sample and grid are those of plain numpy over all rows at once"],
    )


if __name__ == "__main__":
    main()
