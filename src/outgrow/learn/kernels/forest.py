"""Loops of forests: draws of rows, rows parted by splits, histograms of the columns that a node tries, and the best or a drawn split of each node."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .histograms import _hash
from .prefetch import prefetch

__all__ = ["add_nodes", "add_shares", "best_splits", "draw_rows", "split_rows"]

_AHEAD = 24  # rows between asking for one and reading it
_TILE = 256  # rows whose codes stay in the first cache while all trees go over them


@numba.njit(error_model="numpy")
def draw_rows(first: int, key: Any, limits: Any, counts: Any, times: Any) -> int:
    """times[i] = how many of the limits (uint64, ascending) the hash of position first + i, with key (1,), reaches; 0 where counts[i] is 0. Gives how many rows are drawn."""
    drawn = 0
    for i in range(len(counts)):
        times[i] = 0
        if counts[i]:
            z, k = _hash(first + i, key[0]), 0
            while k < len(limits) and z >= limits[k]:
                k += 1
            times[i] = k
            drawn += 1 if k else 0
    return drawn


@numba.njit(error_model="numpy")
def split_rows(columns: Any, masks: Any, splits: Any, spans: Any, order: Any, spare: Any) -> None:
    """Part the rows of each split node, in order: the left child's rows before the right one's.

    columns : uint8 (m, n). masks : uint64 (p, 4), the bins that go left, a bit each. splits : int32 (p, 3), node, column, left child; parents before their
    children. spans : int64 (nodes, 2), where the rows of a node begin and end in order; written for children. order : uint32, written. spare : uint32, as long.
    """
    for s in range(len(splits)):
        node, child = splits[s, 0], splits[s, 2]
        codes, mask = columns[splits[s, 1]], masks[s]
        begin, end = np.uint64(spans[node, 0]), np.uint64(spans[node, 1])
        place, others = begin, np.uint64(0)
        for i in range(begin, end):
            row = order[i]
            code = np.uint64(codes[np.uint64(row)])
            goes = (mask[code >> np.uint64(6)] >> (code & np.uint64(63))) & np.uint64(1)
            order[place] = row
            spare[others] = row
            place += goes
            others += np.uint64(1) - goes
        for i in range(others):
            order[place + i] = spare[i]
        spans[child, 0], spans[child, 1] = begin, place
        spans[child + 1, 0], spans[child + 1, 1] = place, end


@numba.njit(error_model="numpy")
def add_nodes(codes: Any, width: int, order: Any, spans: Any, nodes: Any, tried: Any, place: Any, amount: Any, weight: Any, times: Any, outs: int, sums: Any) -> None:
    """Add the rows of nodes to their histograms of the columns they try.

    codes : uint8 (n · width,). order : uint32, rows; spans : int64 (all nodes, 2). nodes : int32 (q,); tried : int32 (q, d), columns.
    place : int32 (n,), the output that a row adds `amount` : int64 (n,) to; weight : int32 (n,); times : uint8 (n,), how often a row counts.
    sums : int64 (q, d · 256 · (outs + 2)): of each bin, amounts of each output, weight, and rows, each once.
    """
    step, cells = np.uint64(width), np.uint64(outs + 2)
    for q in range(len(nodes)):
        own, columns = sums[q], tried[q]
        begin, end = np.uint64(spans[nodes[q], 0]), np.uint64(spans[nodes[q], 1])
        for i in range(begin, end):
            if i + np.uint64(_AHEAD) < end:
                prefetch(codes, np.uint64(order[i + np.uint64(_AHEAD)]) * step)
            row = np.uint64(order[i])
            many = np.int64(times[row])
            value, heavy, out = many * amount[row], many * np.int64(weight[row]), np.uint64(place[row])
            for j in range(np.uint64(0), np.uint64(len(columns))):
                code = np.uint64(codes[row * step + np.uint64(columns[j])])
                at = ((j << np.uint64(8)) + code) * cells
                own[at + out] += value
                own[at + cells - np.uint64(2)] += heavy
                own[at + cells - np.uint64(1)] += 1


@numba.njit(error_model="numpy")
def _gain(left: Any, total: Any, outs: int, least: int) -> float:
    """What parting a node's squares from those around each side's mean gains; 0 where a side has fewer than `least` rows.

    Each product is of sums below 2^53 as a rule, rounded once, so that sides of one mean gain exactly 0.
    """
    w, whole, n = left[outs], total[outs], left[outs + 1]
    if n < least or total[outs + 1] - n < least or w <= 0 or whole - w <= 0:
        return 0.0
    one, two, gain = float(w), float(whole - w), 0.0
    for k in range(outs):
        apart = float(left[k]) * two - float(total[k] - left[k]) * one
        gain += apart * apart
    return gain / (one * two * float(whole))


@numba.njit(error_model="numpy")
def _ends(own: Any, count: int, cells: int) -> Any:
    """The first and the last bin of numbers that has rows; 0 where there is none."""
    first, last = 0, 0
    for b in range(1, count):
        if own[b * cells + cells - 1] > 0:
            last = b
            first = b if first == 0 else first
    return first, last


@numba.njit(error_model="numpy")
def _of_numbers(own: Any, count: int, total: Any, outs: int, least: int, drawn: bool, z: Any, best: float, left: Any, found: Any, halves: Any) -> float:
    """The best split of a column of numbers, or a drawn one; where it gains more than `best`, found[1] is the last bin on the left, found[2] whether missing goes left."""
    cells = outs + 2
    missing = own[cells - 1] > 0
    first, last = _ends(own, count, cells)
    if first == 0 or (first == last and not missing):
        return best
    only = first + np.int64((np.uint64(z) >> np.uint64(1)) % np.uint64(last - first)) if last > first else last
    for side in range(2 if missing else 1):
        if drawn and missing and np.int64(np.uint64(z) & np.uint64(1)) != side and last > first:
            continue
        for k in range(cells):
            left[k] = own[k] if side else 0
        for b in range(1, last + 1):
            if own[b * cells + outs + 1] > 0:
                for k in range(cells):
                    left[k] += own[b * cells + k]
            elif not drawn:
                continue
            if drawn and b != only:
                continue
            gain = _gain(left, total, outs, least)
            if gain > best:
                best = gain
                found[1] = b
                found[2] = side if missing else (1 if 2 * left[outs + 1] > total[outs + 1] else 0)
                for k in range(cells):
                    halves[k] = left[k]
    return best


@numba.njit(error_model="numpy")
def _ranked(own: Any, count: int, total: Any, outs: int, drawn: bool, z: Any, ratio: Any, rank: Any) -> int:
    """The bins that have rows, by their mean, by the share of the most frequent class where there are more than two, or by a draw. Gives how many these are."""
    cells, some, way = outs + 2, 0, outs - 1
    if outs > 2:
        for k in range(outs):
            way = k if total[k] > total[way] else way
    for b in range(count):
        if own[b * cells + outs + 1] > 0:
            ratio[b] = float(np.int64(_hash(b, z) >> np.uint64(33))) if drawn else float(own[b * cells + way]) / float(max(1, own[b * cells + outs]))
            k = some
            while k > 0 and ratio[rank[k - 1]] > ratio[b]:
                rank[k] = rank[k - 1]
                k -= 1
            rank[k] = b
            some += 1
    return some


@numba.njit(error_model="numpy")
def _of_categories(
    own: Any, count: int, total: Any, outs: int, least: int, drawn: bool, z: Any, best: float, ratio: Any, rank: Any, left: Any, chosen: Any, found: Any, halves: Any
) -> float:
    """The best split of a column of categories: the first so many in order go left; where one is to be drawn, both the order and how many."""
    cells, some = outs + 2, _ranked(own, count, total, outs, drawn, z, ratio, rank)
    length = 0
    only = 1 + np.int64(np.uint64(z) % np.uint64(max(1, some - 1)))
    left[:] = 0
    for k in range(some - 1):
        for cell in range(cells):
            left[cell] += own[rank[k] * cells + cell]
        if drawn and k + 1 != only:
            continue
        gain = _gain(left, total, outs, least)
        if gain > best:
            best, length = gain, k + 1
            for cell in range(cells):
                halves[cell] = left[cell]
    if length:
        absent = 1 if 2 * halves[outs + 1] > total[outs + 1] else 0  # a category that is not here goes with the more rows
        chosen[:] = absent
        for k in range(some):
            chosen[rank[k]] = 1 if k < length else 0
        found[1] = 0
    return best


@numba.njit(error_model="numpy")
def _between(own: Any, count: int, cells: int, drawn: bool, found: Any, chosen: Any) -> int:
    """The last bin on the left: halfway through the bins that are empty here, unless it was drawn. chosen : uint8 (256,), written: the bins that go left."""
    end = found[1]
    while not drawn and end + 1 < count and own[(end + 1) * cells + cells - 1] == 0:
        end += 1
    end = found[1] + (end - found[1]) // 2 if end + 1 < count else found[1]
    for b in range(256):
        chosen[b] = 1 if 0 < b <= end else 0
    chosen[0] = found[2]
    return int(end)


@numba.njit(error_model="numpy")
def best_splits(
    sums: Any, tried: Any, bins: Any, kinds: Any, keys: Any, drawn: int, least: int, outs: int, gains: Any, column: Any, last: Any, masks: Any, halves: Any
) -> None:
    """The best split of each node over the columns it tries; of equal gains the first tried column's, then the lowest bin's. A gain of 0: there is none.

    Parameters
    ----------
    sums : int64 (q, d · 256 · (outs + 2)), as `add_nodes` makes them. tried : int32 (q, d). bins : int32 (m,), bins of a column, that of missing values (0)
        included. kinds : uint8 (m,), 1 where it is of categories. keys : uint64 (q,), what draws are hashed with.
    drawn : 1: of each column one split, drawn. least : fewest rows of a side.
    gains : float64 (q,), column, last : int32 (q,), masks : uint64 (q, 4), halves : int64 (q, outs + 2): written.
    """
    cells = outs + 2
    ratio, rank, chosen = np.empty(256), np.empty(256, np.int64), np.empty(256, np.uint8)
    total, left, found = np.empty(cells, np.int64), np.empty(cells, np.int64), np.zeros(3, np.int64)
    for q in range(len(tried)):
        total[:] = 0
        for b in range(256):
            for k in range(cells):
                total[k] += sums[q, b * cells + k]
        best = 0.0
        for j in range(tried.shape[1]):
            c, before = tried[q, j], best
            own = sums[q, 256 * cells * j : 256 * cells * (j + 1)]
            z = _hash(c, keys[q])
            if kinds[c]:
                best = _of_categories(own, bins[c], total, outs, least, drawn == 1, z, best, ratio, rank, left, chosen, found, halves[q])
            else:
                best = _of_numbers(own, bins[c], total, outs, least, drawn == 1, z, best, left, found, halves[q])
            if best > before:
                found[0] = j
        gains[q], column[q] = best, -1
        if best > 0.0:
            c = tried[q, found[0]]
            own = sums[q, 256 * cells * found[0] : 256 * cells * (found[0] + 1)]
            column[q] = c
            last[q] = 0 if kinds[c] else _between(own, bins[c], cells, drawn == 1, found, chosen)
            for word in range(4):
                bits = np.uint64(0)
                for b in range(64):
                    bits |= np.uint64(chosen[64 * word + b]) << np.uint64(b)
                masks[q, word] = bits


@numba.njit(error_model="numpy")
def add_shares(codes: Any, width: int, roots: Any, column: Any, child: Any, masks: Any, value: Any, scores: Any) -> None:
    """Add to scores (outs, n) the values (nodes, outs) of the leaves that each row falls into, tree by tree; the rest as `walk.sum_trees`."""
    outs, n = scores.shape
    step = np.uint64(width)
    for tile in range(0, n, _TILE):
        for t in range(len(roots)):
            for i in range(tile, min(n, tile + _TILE)):
                node = np.uint64(roots[t])
                base = np.uint64(i) * step
                down = np.uint64(child[node])
                while down:
                    code = np.uint64(codes[base + np.uint64(column[node])])
                    goes = (masks[node * np.uint64(4) + (code >> np.uint64(6))] >> (code & np.uint64(63))) & np.uint64(1)
                    node = down + np.uint64(1) - goes
                    down = np.uint64(child[node])
                for k in range(outs):
                    scores[k, i] += value[node, k]
