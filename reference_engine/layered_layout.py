"""Places for the nodes of a directed graph: rows from the inputs down to the results, few crossings, narrow rows.

The steps are those of Sugiyama, Tagawa and Toda (1981): rows, waypoints where an edge passes a row, an order within
each row by barycentres, coordinates. Rows are kept narrow, so that a drawing can be read on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Size = tuple[float, float]
Point = tuple[float, float]
WAYPOINT = 6.0  # width kept free for an edge that passes a row
END_GAP = 44.0  # between the ends of edges that arrive at the same node, where it is wide enough
SWEEPS = 8  # downwards and upwards; the order with the fewest crossings is kept
SETTLING = 30  # rounds of moving nodes towards the middle of their neighbours


@dataclass
class Layout:
    """centres[i]: the middle of node i. routes[k]: the points of edge k, from its source to its target. In pixels."""

    centres: list[Point]
    routes: list[list[Point]]
    width: float
    height: float


@dataclass
class _Rows:
    """Boxes (nodes, then waypoints), the row of each, the boxes of each row in order, and links between rows."""

    widths: list[float]
    row: list[int]
    rows: list[list[int]]
    chains: list[list[int]]  # of each edge: its source, waypoints, target
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)


def layered_layout(
    sizes: Sequence[Size], edges: Sequence[tuple[int, int]], *, widest: float, column_gap: float, row_gap: float
) -> Layout:
    """Places for boxes of the given sizes; each edge (source, target) leads downwards.

    widest: nodes share a row while they and the gaps between them are narrower than this. An acyclic graph is assumed;
    `edges` may hold an edge twice. All lengths in pixels.
    """
    row = _rows_of(sizes, edges, widest, column_gap)
    boxes = _with_waypoints(sizes, edges, row)
    _reduce_crossings(boxes)
    x = _columns(boxes, column_gap)
    heights = [max((sizes[i][1] for i in members if i < len(sizes)), default=0.0) for members in boxes.rows]
    middles, top = [], 0.0
    for height in heights:
        middles.append(top + height / 2)
        top += height + row_gap
    left = min((x[i] - w / 2 for i, w in enumerate(boxes.widths)), default=0.0)
    places = [(x[i] - left, middles[r]) for i, r in enumerate(boxes.row)]
    width = max((places[i][0] + w / 2 for i, w in enumerate(boxes.widths)), default=0.0)
    routes = [_route(chain, places, sizes, heights, boxes.row) for chain in boxes.chains]
    _spread_ends(routes, edges, sizes)
    return Layout(places[: len(sizes)], routes, width, max(top - row_gap, 0.0))


def _rows_of(sizes: Sequence[Size], edges: Sequence[tuple[int, int]], widest: float, gap: float) -> list[int]:
    """The row of each node, counted from the top. From the bottom up, a row takes nodes all of whose users are below.

    First come those with the longest way up to an input (Coffman and Graham 1972), then those in most use.
    """
    users: list[set[int]] = [set() for _ in sizes]
    operands: list[set[int]] = [set() for _ in sizes]
    for source, target in edges:
        users[source].add(target)
        operands[target].add(source)
    depth = [0] * len(sizes)
    for i in _sorted_by_dependence(operands, users):
        depth[i] = 1 + max((depth[j] for j in operands[i]), default=-1)
    waiting = [len(u) for u in users]
    ready = [i for i, n in enumerate(waiting) if n == 0]
    level = [0] * len(sizes)
    current = 0
    while ready:
        ready.sort(key=lambda i: (-depth[i], -max((current - level[u] for u in users[i]), default=0), i))
        room = widest
        taken: list[int] = []
        for i in ready:
            if not taken or sizes[i][0] + gap <= room:
                taken.append(i)
                room -= sizes[i][0] + gap
        ready = [i for i in ready if i not in taken]
        for i in taken:
            level[i] = current
            for j in operands[i]:
                waiting[j] -= 1
                if not waiting[j]:
                    ready.append(j)
        current += 1
    return [current - 1 - r for r in level]


def _sorted_by_dependence(operands: list[set[int]], users: list[set[int]]) -> list[int]:
    """Every node after its operands."""
    missing = [len(o) for o in operands]
    result = [i for i, n in enumerate(missing) if n == 0]
    for i in result:  # grows while it is read
        for j in users[i]:
            missing[j] -= 1
            if not missing[j]:
                result.append(j)
    return result


def _with_waypoints(sizes: Sequence[Size], edges: Sequence[tuple[int, int]], row: list[int]) -> _Rows:
    boxes = _Rows([w for w, _ in sizes], list(row), [[] for _ in range(max(row, default=-1) + 1)], [])
    for i, r in enumerate(row):
        boxes.rows[r].append(i)
    passing: dict[tuple[int, int], int] = {}  # edges from one source share their waypoints
    for source, target in edges:
        chain = [source]
        for r in range(row[source] + 1, row[target]):
            if (source, r) not in passing:
                passing[source, r] = len(boxes.widths)
                boxes.rows[r].append(len(boxes.widths))
                boxes.widths.append(WAYPOINT)
                boxes.row.append(r)
            chain.append(passing[source, r])
        boxes.chains.append([*chain, target])
    boxes.above = [[] for _ in boxes.widths]
    boxes.below = [[] for _ in boxes.widths]
    for a, b in sorted({link for chain in boxes.chains for link in zip(chain, chain[1:], strict=False)}):
        boxes.below[a].append(b)
        boxes.above[b].append(a)
    return boxes


def _reduce_crossings(boxes: _Rows) -> None:
    """Order each row by the mean place of its neighbours in the row before, down and up; keep the best order seen."""
    best, fewest = [list(members) for members in boxes.rows], _crossings(boxes)
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        neighbours = boxes.above if down else boxes.below
        for r in range(len(boxes.rows)) if down else reversed(range(len(boxes.rows))):
            before = r - 1 if down else r + 1
            place = {i: k for k, i in enumerate(boxes.rows[before])} if 0 <= before < len(boxes.rows) else {}
            own = {i: float(k) for k, i in enumerate(boxes.rows[r])}
            for i in boxes.rows[r]:
                seen = [place[j] for j in neighbours[i]]
                own[i] = sum(seen) / len(seen) if seen else own[i]
            boxes.rows[r].sort(key=own.__getitem__)
        found = _crossings(boxes)
        if found < fewest:
            best, fewest = [list(members) for members in boxes.rows], found
    boxes.rows[:] = best


def _crossings(boxes: _Rows) -> int:
    """How many pairs of links between neighbouring rows cross."""
    total = 0
    for r in range(len(boxes.rows) - 1):
        place = {i: k for k, i in enumerate(boxes.rows[r + 1])}
        ends: list[int] = []
        for i in boxes.rows[r]:
            own = sorted(place[j] for j in boxes.below[i])
            total += sum(1 for end in own for other in ends if other > end)
            ends += own
    return total


def _columns(boxes: _Rows, gap: float) -> list[float]:
    """The middle of each box: rows start centred; then boxes move towards their neighbours, as far as others allow.

    No row leaves the width of the widest one, so that the picture is as narrow as its rows.
    """
    bound = max((sum(boxes.widths[i] + gap for i in members) for members in boxes.rows), default=0.0) / 2
    x = [0.0] * len(boxes.widths)
    for members in boxes.rows:
        at = -sum(boxes.widths[i] + gap for i in members) / 2
        for i in members:
            x[i] = at + (boxes.widths[i] + gap) / 2
            at += boxes.widths[i] + gap
    for turn in range(SETTLING):
        for members in boxes.rows if turn % 2 == 0 else reversed(boxes.rows):
            wanted = []
            for i in members:
                near = [x[j] for j in (*boxes.above[i], *boxes.below[i])]
                wanted.append(sum(near) / len(near) if near else x[i])
            for i, place in zip(members, _apart(wanted, [boxes.widths[i] + gap for i in members], bound), strict=True):
                x[i] = place
    return x


def _apart(wanted: list[float], widths: list[float], bound: float) -> list[float]:
    """The places nearest to the wanted ones (least squares) at which boxes in this order do not overlap, within ±bound.

    Boxes that would overlap are merged to a block around the mean of what its members want.
    """
    blocks: list[tuple[float, int]] = []  # mean of wanted - offset, how many members
    offset, offsets = 0.0, []
    for i, (place, width) in enumerate(zip(wanted, widths, strict=True)):
        offset += width / 2 + (widths[i - 1] / 2 if i else -width / 2)
        offsets.append(offset)
        mean, members = place - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean, members = (mean * members + other * count) / (members + count), members + count
        blocks.append((mean, members))
    shifts = [mean for mean, members in blocks for _ in range(members)]
    least, most = widths[0] / 2 - bound, bound - widths[-1] / 2 - offsets[-1]
    return [min(max(shift, least), most) + at for shift, at in zip(shifts, offsets, strict=True)]


def _route(
    chain: list[int], places: list[Point], sizes: Sequence[Size], heights: list[float], row: list[int]
) -> list[Point]:
    """From the lower side of the source, past the waypoints in its way, to the upper side of the target."""
    source, target = chain[0], chain[-1]
    points = [(places[source][0], places[source][1] + sizes[source][1] / 2)]
    for i in chain[1:-1]:
        x, y = places[i]
        half = heights[row[i]] / 2
        points += [(x, y - half), (x, y + half)]
    return [*points, (places[target][0], places[target][1] - sizes[target][1] / 2)]


def _spread_ends(routes: list[list[Point]], edges: Sequence[tuple[int, int]], sizes: Sequence[Size]) -> None:
    """Let edges arrive at places of their own, side by side, from left to right as they come."""
    arriving: dict[int, list[int]] = {}
    for k, (_, target) in enumerate(edges):
        arriving.setdefault(target, []).append(k)
    for target, ks in arriving.items():
        ks.sort(key=lambda k: routes[k][-2][0])
        step = min(END_GAP, sizes[target][0] / (len(ks) + 1))
        for n, k in enumerate(ks):
            x, y = routes[k][-1]
            routes[k][-1] = (x + (n - (len(ks) - 1) / 2) * step, y)
