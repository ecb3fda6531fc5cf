"""Laws of a fold: what may be done to rows, states and arrays between any two steps without changing a bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ..core.fold import Block, Kept, Node, Partial, fold_block
from ..core.learner import Pass
from ..core.rng import hash64
from ..core.state import State, digest, same
from ..core.tree import Closer, aligned
from ..data.batch import Codes, Dictionary
from .cases import Case
from .law import Broken, broken_unless_same, differing, needs
from .replay import Turn, arrays_in, fold_again, freeze, fresh, frozen, lane_batches, recoded, through_bytes, zero_signs

__all__ = ["FOLD_LAWS"]

_LAYOUTS = ("Fortran order", "a strided view", "a reversed view", "an odd address", "read-only", "another dictionary")


def _passes(case: Case) -> list[tuple[Turn, int, Pass]]:
    """Every pass of the rounds worth a look."""
    found = [(turn, which, item) for turn in case.telling for which, item in enumerate(turn.passes)]
    needs(found, "it needs no pass over the rows")
    return found


def _merging(case: Case) -> list[tuple[Turn, int, Pass]]:
    """Those whose lanes meet."""
    found = [(turn, which, item) for turn, which, item in _passes(case) if not item.fold.traits.chain and case.job.lanes(item) > 1]
    needs(found, "no pass has lanes that meet")
    return found


def _folded(item: Pass, batches: list[Any]) -> State:
    state = item.fold.init(item.given)
    for batch in batches:
        state = item.fold.update(state, batch, item.given)
    return state


def _merged(item: Pass, left: State, right: State) -> State:
    return item.fold.merge(fresh(left), frozen(right), item.given)


def _history(item: Pass, batches: list[Any], draw: Iterator[int], *, empties: bool) -> State:
    """A state of these batches that came about by folds and merges drawn at random; `empties`: and empty states merged in on the way."""
    if len(batches) == 1 or next(draw) % 3 == 0:
        state = _folded(item, batches)
    else:
        cut = 1 + next(draw) % (len(batches) - 1)
        state = _merged(item, _history(item, batches[:cut], draw, empties=empties), _history(item, batches[cut:], draw, empties=empties))
    side = next(draw) % 3
    if empties and side:
        empty = item.fold.init(item.given)
        return _merged(item, empty, state) if side == 1 else _merged(item, state, empty)
    return state


def empty_is_identity(case: Case) -> None:
    """A lane without rows changes nothing: catches a merge that divides by a count of zero, or counts an empty state."""
    for turn, _, item in _merging(case):
        empty = item.fold.init(item.given)
        batches = [batch for lane in range(2) for batch in lane_batches(case.job, item, turn, lane)]
        for state in (empty, _folded(item, batches[:1])):
            for side, merged in (("left", _merged(item, empty, state)), ("right", _merged(item, state, empty))):
                broken_unless_same(zero_signs(state), zero_signs(merged), f"an empty state on the {side} of a merge changes the other one")
        for number in range(4):
            plain, mixed = (_history(item, batches, iter(hash64(case.seed, f"history {number}", np.arange(99)).tolist()), empties=empties) for empties in (False, True))
            broken_unless_same(zero_signs(plain), zero_signs(mixed), "empty states merged in between folds and merges change the outcome")


def _rows(case: Case, turn: Turn, item: Pass, most: int) -> list[State]:
    """States of one row each, of rows that leave a trace."""
    empty, found = zero_signs(item.fold.init(item.given)), []
    if item.fold.keep is not None:
        return []
    for batch in lane_batches(case.job, item, turn, 0):
        for position in batch.positions.tolist():
            row = list(case.job.reads(item).read(position, position + 1, 1, item.columns))
            state = _folded(item, [item.fold.see(batch, item.given) for batch in row])
            if not same(zero_signs(state), empty):
                found.append(state)
            if len(found) == most:
                return found
    return found


def one_row_survives(case: Case) -> None:
    """A state of one row counts: catches a merge that takes a state with few rows for an empty one."""
    looked = False
    for turn, _, item in _merging(case):
        rows = _rows(case, turn, item, 24)
        if len(rows) < 3 or all(same(rows[0], row) for row in rows):
            continue
        looked = True
        for name, left in (("one row", rows[0]), ("two rows", _merged(item, rows[0], rows[1]))):
            others = rows[2:]
            if all(not differing(left, _merged(item, left, row)) for row in others):
                raise Broken(f"none of {len(others)} one-row states leaves a trace when merged on the right of a state of {name}")
            if all(not differing(left, _merged(item, row, left)) for row in others):
                raise Broken(f"none of {len(others)} one-row states leaves a trace when merged on the left of a state of {name}")
    needs(looked, "no pass takes states of single rows that differ")


def _splits(lanes: int) -> Iterator[tuple[str, list[int]]]:
    """Where tasks begin: even cuts into 1, 2, √n, n/2 and n tasks, and ones that double in size."""
    for parts in sorted({1, 2, math.isqrt(lanes), max(1, lanes // 2), lanes}):
        yield f"{parts} tasks", [lanes * i // parts for i in range(parts)]
    yield "tasks that double in size", [0, *(1 << k for k in range(lanes.bit_length()) if 1 << k < lanes)]


def any_split_any_order(case: Case) -> None:
    """However lanes are cut into tasks, and in whatever order they arrive, some twice: catches state outside the state, and randomness from a stream."""
    job = case.job
    for turn, which, item in _passes(case):
        lanes, whole = job.lanes(item), turn.closed[which]
        for number, (name, starts) in enumerate(_splits(lanes)):
            kept, blocks = Kept(), []
            for a, b in zip(starts, [*starts[1:], lanes], strict=True):
                blocks += [Block(which, level, index) for level, index in aligned(a, b, max(1, lanes))]
            order = np.argsort(hash64(case.seed, f"arrival {number}", np.arange(len(blocks))))
            closer = Closer(lanes, lambda left, right, item=item: item.fold.merge(left, right, item.given))  # type: ignore[misc]
            nodes: list[Node] = []
            for k in order:
                node = fold_block(job, item, blocks[k], kept=kept, recall=lambda name, turn=turn: job.learner.recall(job.context, turn.carry, name))  # type: ignore[misc]
                nodes.append(Node(which, node.level, node.index, fresh(node.state)))
                closer.add(node.level, node.index, node.state)
                late = nodes[len(nodes) // 2]
                closer.add(late.level, late.index, fresh(late.state))
            broken_unless_same(whole, closer.close(), f"{name}, arriving in another order, give other bits")


def any_cut(case: Case) -> None:
    """Where a fold says `order_free`, any cut of the rows and any order of the pieces: catches a fold that reads batch size or adds floats."""
    found = [(turn, which, item) for turn, which, item in _passes(case) if item.fold.traits.order_free and item.fold.keep is None]
    needs(found, "no fold says it is order_free")
    for turn, which, item in found:
        for batch_rows, backwards in ((1, False), (7, True), (case.job.source.rows, False)):
            source = case.job.reads(item)
            batches = [case.job._seen(item.rows, batch, source.rows) for batch in source.read(0, source.rows, batch_rows, item.columns)]
            states = [_folded(item, [item.fold.see(batch, item.given) for batch in half if batch.rows]) for half in (batches[::2], batches[1::2])]
            left, right = states[::-1] if backwards else states
            broken_unless_same(turn.closed[which], _merged(item, left, right), f"batches of {batch_rows} rows{', the second half first,' if backwards else ''} give other bits")


def _relaid(layout: str) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """The same values in another place and order of memory."""

    def change(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if layout == "Fortran order":
            return np.asfortranarray(array) if array.ndim > 1 else array.copy()
        if layout == "a strided view":
            wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype) if array.ndim else array.copy()
            view = wide[..., ::2] if array.ndim else wide
        elif layout == "a reversed view":
            view = np.empty_like(array)[::-1] if array.ndim else array.copy()
        elif layout == "an odd address":
            raw = np.empty(array.nbytes + 65, np.uint8)
            skip = -raw.ctypes.data % 64 + 1
            view = raw[skip : skip + array.nbytes].view(array.dtype).reshape(array.shape)
        else:
            view = array.copy()
        view[...] = array
        view.flags.writeable = False
        return view

    return change


def _rewritten(batch: Any) -> Any:
    """The batch with the values of every dictionary in reverse order, and one that no row uses."""
    import pyarrow as pa

    columns = dict(batch.columns) if batch.design is None else {}
    for name, column in columns.items():
        if isinstance(column, Codes) and pa.types.is_string(column.dictionary.values.type):
            values = column.dictionary.values
            codes = np.where(column.codes < 0, -1, len(values) - 1 - column.codes).astype(np.int32)
            columns[name] = Codes(codes, Dictionary(pa.concat_arrays([values[::-1] if len(values) else values, pa.array(["used nowhere"], values.type)])))
    return batch.with_columns(batch.schema, columns) if columns else batch


def any_layout(case: Case) -> None:
    """The same values in any memory layout, and codes into any dictionary: catches sums that follow strides, and code numbers taken for values."""
    for turn, which, _ in _passes(case):
        for layout in _LAYOUTS:
            raw = layout == "another dictionary"
            relaid = _rewritten if raw else partial(recoded, change=_relaid(layout))
            if raw and not hasattr(next(iter(case.source.read(0, 1, 1))), "columns"):
                continue
            broken_unless_same(turn.closed[which], fold_again(case.job, turn, which, change=relaid), f"inputs in another layout ({layout}) give other bits")


def encode_decode_anywhere(case: Case) -> None:
    """State, given and kept pass through a file between any two steps: catches what bytes do not carry (masks, odd dtypes, hidden attributes)."""
    for turn, which, _ in _passes(case):
        found = fold_again(case.job, turn, which, step=through_bytes, given=through_bytes)
        broken_unless_same(through_bytes(turn.closed[which]), found, "a state that was written and read again goes on to other bits")


def names_in_any_order(case: Case) -> None:
    """Arrays of a state are known by name: catches a fold or learner that goes by the order of a dict."""

    def turned(state: State) -> State:
        return dict(sorted(fresh(state).items(), key=lambda entry: digest({entry[0]: np.zeros(0)})))

    for turn, which, _ in _passes(case):
        found = fold_again(case.job, turn, which, step=turned, given=turned)
        broken_unless_same(turn.closed[which], found, "states whose names stand in another order give other bits")
    for turn in case.telling:
        after = case.learner.tell(case.job.context, turned(turn.carry), tuple(turned(state) for state in turn.closed))
        broken_unless_same(turn.after, after, "a carry whose names stand in another order goes on to other bits")


def merge_leaves_right_and_given(case: Case) -> None:
    """`merge` may consume its left and nothing else: catches one that adds into its right, or into what all lanes share."""
    for turn, _, item in _merging(case):
        batches = list(lane_batches(case.job, item, turn, 0))
        half = len(batches) // 2 or 1
        left, right = _folded(item, batches[:half]), _folded(item, batches[half:] or batches)
        before, given = digest(right), frozen(item.given)
        _quiet(lambda: item.fold.merge(fresh(left), frozen(right), given), "merge writes to its right or given")  # noqa: B023
        loose, shared = fresh(right), fresh(item.given)
        item.fold.merge(fresh(left), loose, shared)
        if digest(loose) != before:
            raise Broken("merge changes its right state")
        broken_unless_same(item.given, shared, "merge changes what all lanes share")


def _quiet(call: Callable[[], Any], mistake: str) -> None:
    try:
        call()
    except ValueError as error:
        if "read-only" in str(error):
            raise Broken(f"{mistake} ({error})") from None
        raise


def update_leaves_batch_and_given(case: Case) -> None:
    """`update` reads its batch and given: catches one that works in place on rows which others will read."""
    for turn, _, item in _passes(case):
        for batch in lane_batches(case.job, item, turn, 0):
            loose, given = recoded(batch, lambda array: array.copy()), fresh(item.given)
            before = [array.tobytes() for array in arrays_in(loose)]
            item.fold.update(item.fold.init(item.given), loose, given)
            if before != [array.tobytes() for array in arrays_in(loose)]:
                raise Broken("update changes the batch it was shown")
            broken_unless_same(item.given, given, "update changes what all lanes share")
            tight = freeze(recoded(batch, lambda array: array.copy()))
            _quiet(lambda: item.fold.update(item.fold.init(item.given), tight, frozen(item.given)), "update writes to its batch or given")  # noqa: B023


def state_is_its_own(case: Case) -> None:
    """A state shares no memory with batch or given: catches one that keeps a view of rows which the reader will overwrite."""
    for turn, _, item in _passes(case):
        given = fresh(item.given)
        state = item.fold.init(given)
        for batch in lane_batches(case.job, item, turn, 0):
            loose = recoded(batch, lambda array: array.copy())
            state = item.fold.update(state, loose, given)
            before = digest(state)
            _scribble(loose)
            if digest(state) != before:
                raise Broken("a state changes when the memory of its batch is used again: it holds a view of the batch")
        before = digest(state)
        _scribble(given)
        if digest(state) != before:
            raise Broken("a state changes when what all lanes share is changed: it holds a view of given")


def _scribble(thing: Any) -> None:
    """Overwrite every array in it, as a reader does that uses its memory again."""
    for array in arrays_in(thing):
        if array.flags.writeable:
            array[...] = ~array if array.dtype.kind == "b" else 77 if array.dtype.kind in "iuf" else array


def resume_inside_a_lane(case: Case) -> None:
    """A lane goes on from any of its batches, in another process: catches a fold that counts on having seen the lane's beginning."""
    job = case.job
    for turn, which, item in _passes(case):
        recall = lambda name, turn=turn: job.learner.recall(job.context, turn.carry, name)  # noqa: E731
        shown: list[Partial] = []

        def tick(lane: int, done: int, rows: int, state: State, which: int = which, shown: list[Partial] = shown) -> None:  # noqa: ARG001
            shown.append(Partial(which, lane, done, fresh(state)))

        whole = fold_block(job, item, Block(which, 0, 0), kept=Kept(), recall=recall, tick=tick)
        for saved in shown[:3]:
            again = Partial(which, saved.lane, saved.done, through_bytes(saved.state))
            node = fold_block(job, item, Block(which, 0, 0, again), kept=Kept(), recall=recall)
            broken_unless_same(through_bytes(whole.state), node.state, f"a lane that goes on after {saved.done} batches ends in other bits")


def traits_are_true(case: Case) -> None:
    """What a fold says of itself holds: catches `elementwise` where merge does more than add arrays, and `chain` on several lanes."""
    claims = 0
    for turn, which, item in _passes(case):
        if item.fold.traits.chain:
            claims += 1
            if case.job.lanes(item) > 1:
                raise Broken(f"a fold that says `chain` is asked for on {case.job.lanes(item)} lanes")
        if item.fold.traits.elementwise:
            claims += 1
            batches = list(lane_batches(case.job, item, turn, 0))
            left, right = _folded(item, batches[:2]), turn.closed[which]
            added = {name: np.asarray(left[name] + right[name]) for name in left}
            broken_unless_same(zero_signs(added), zero_signs(_merged(item, left, right)), "a fold says `elementwise`, but its merge is not the sum of the arrays")
    needs(claims, "no fold says `elementwise` or `chain`")


FOLD_LAWS = (
    empty_is_identity,
    one_row_survives,
    any_split_any_order,
    any_cut,
    any_layout,
    encode_decode_anywhere,
    names_in_any_order,
    merge_leaves_right_and_given,
    update_leaves_batch_and_given,
    state_is_its_own,
    resume_inside_a_lane,
    traits_are_true,
)
