"""SHAP values of trees: what each column of a row adds to its score, over all orders in which columns may be learned.

The exact algorithm of Lundberg, Erion and Lee (2018, algorithm 2): one walk of a tree keeps, for the columns on the way to a node, in how many of the subsets of each size the
row comes there; where a column is not in the subset, rows go both ways in proportion to those that were learned from.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["add_shap"]


@numba.njit(error_model="numpy")
def _means(start: int, stop: int, child: Any, rows: Any, value: Any, cover: Any, mean: Any) -> None:
    """Rows below each node of a tree, and the mean value there. A half without rows counts nothing, two without half each."""
    for node in range(stop - 1, start - 1, -1):  # children come after their parents
        one = child[node]
        if one == 0:
            cover[node], mean[node] = float(rows[node]), value[node]
            continue
        cover[node] = cover[one] + cover[one + 1]
        share = cover[one] / cover[node] if cover[node] > 0.0 else 0.5
        mean[node] = share * mean[one] + (1.0 - share) * mean[one + 1]


@numba.njit(error_model="numpy")
def _extend(at: int, column: int, zero: float, one: float, columns: Any, zeros: Any, ones: Any, weights: Any) -> None:
    columns[at], zeros[at], ones[at], weights[at] = column, zero, one, 1.0 if at == 0 else 0.0
    for i in range(at - 1, -1, -1):
        weights[i + 1] += one * weights[i] * (i + 1) / (at + 1)
        weights[i] = zero * weights[i] * (at - i) / (at + 1)


@numba.njit(error_model="numpy")
def _unwind(at: int, which: int, columns: Any, zeros: Any, ones: Any, weights: Any) -> None:
    one, zero, following = ones[which], zeros[which], weights[at]
    for i in range(at - 1, -1, -1):
        if one != 0.0:
            before = weights[i]
            weights[i] = following * (at + 1) / ((i + 1) * one)
            following = before - weights[i] * zero * (at - i) / (at + 1)
        else:
            weights[i] = weights[i] * (at + 1) / (zero * (at - i))
    for i in range(which, at):
        columns[i], zeros[i], ones[i] = columns[i + 1], zeros[i + 1], ones[i + 1]


@numba.njit(error_model="numpy")
def _unwound(at: int, which: int, zeros: Any, ones: Any, weights: Any) -> float:
    """The sum of the weights without column `which`."""
    one, zero, following, total = ones[which], zeros[which], weights[at], 0.0
    for i in range(at - 1, -1, -1):
        if one != 0.0:
            own = following * (at + 1) / ((i + 1) * one)
            total += own
            following = weights[i] - own * zero * (at - i) / (at + 1)
        elif zero != 0.0:
            total += weights[i] / (zero * (at - i) / (at + 1))
    return total


@numba.njit(error_model="numpy")
def add_shap(codes: Any, width: int, roots: Any, outs: int, column: Any, child: Any, masks: Any, value: Any, rows: Any, depth: int, found: Any) -> None:
    """Add to found (n, outs · (m + 1)) the part of each of m columns in the score of each output, and behind them what the trees give on average.

    codes : uint8 (n · width,). roots : int64. Of each node: column, child : int32, masks : uint64 (nodes · 4,), value : float64, rows : int64, as in `model.no_trees`.
    depth : levels of the deepest tree. About 10 ns · depth² a row and leaf.
    """
    n, parts = found.shape[0], found.shape[1] // outs
    nodes = len(child)
    cover, mean = np.empty(nodes), np.empty(nodes)
    for t in range(len(roots)):
        _means(roots[t], roots[t + 1] if t + 1 < len(roots) else nodes, child, rows, value, cover, mean)
    wide = depth + 3
    columns, zeros, ones, weights = np.empty((wide, wide), np.int64), np.empty((wide, wide)), np.empty((wide, wide)), np.empty((wide, wide))
    todo, levels, lengths, come = np.empty(2 * wide, np.int64), np.empty(2 * wide, np.int64), np.empty(2 * wide, np.int64), np.empty(2 * wide, np.int64)
    come_zero, come_one = np.empty(2 * wide), np.empty(2 * wide)
    for row in range(n):
        for t in range(len(roots)):
            own = found[row, (t % outs) * parts : (t % outs + 1) * parts]
            own[parts - 1] += mean[roots[t]]
            todo[0], levels[0], lengths[0], come[0], come_zero[0], come_one[0] = roots[t], 0, 0, -1, 1.0, 1.0
            left = 1
            while left:
                left -= 1
                node, level, at = todo[left], levels[left], lengths[left]
                pc, pz, po, pw = columns[level], zeros[level], ones[level], weights[level]
                if level:
                    for i in range(at):
                        pc[i], pz[i], po[i], pw[i] = columns[level - 1, i], zeros[level - 1, i], ones[level - 1, i], weights[level - 1, i]
                _extend(at, come[left], come_zero[left], come_one[left], pc, pz, po, pw)
                one = child[node]
                if one == 0:
                    for i in range(1, at + 1):
                        own[pc[i]] += _unwound(at, i, pz, po, pw) * (po[i] - pz[i]) * value[node]
                    continue
                asked = np.int64(column[node])
                code = np.uint64(codes[np.uint64(row) * np.uint64(width) + np.uint64(asked)])
                goes = (masks[np.uint64(node) * np.uint64(4) + (code >> np.uint64(6))] >> (code & np.uint64(63))) & np.uint64(1)
                hot = one + 1 - np.int64(goes)
                cold = one + np.int64(goes)
                zero, whole = 1.0, 1.0
                for i in range(1, at + 1):
                    if pc[i] == asked:
                        zero, whole = pz[i], po[i]
                        _unwind(at, i, pc, pz, po, pw)
                        at -= 1
                        break
                share = cover[hot] / cover[node] if cover[node] > 0.0 else 0.5
                if share < 1.0:
                    todo[left], levels[left], lengths[left], come[left], come_zero[left], come_one[left] = cold, level + 1, at + 1, asked, zero * (1.0 - share), 0.0
                    left += 1
                if zero * share == 0.0 and whole == 0.0:  # nobody comes there
                    continue
                todo[left], levels[left], lengths[left], come[left], come_zero[left], come_one[left] = hot, level + 1, at + 1, asked, zero * share, whole
                left += 1
