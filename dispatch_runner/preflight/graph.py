"""Questions about the graph of a request that may still be wrong: cycles, and who is above whom.

Tasks are numbers; `dependencies[n]` are the tasks that n waits for. Nothing here recurses.
"""

from collections.abc import Iterable, Iterator, Sequence

Dependencies = Sequence[Sequence[int]]

MAX_CYCLES = 100
_TARGETS_AT_ONCE = 4_096


def topological_order(dependencies: Dependencies) -> list[int]:
    """All tasks that no cycle holds up, each after its dependencies."""
    waiting = [len(above) for above in dependencies]
    dependents: dict[int, list[int]] = {}
    for number, above in enumerate(dependencies):
        for dependency in above:
            dependents.setdefault(dependency, []).append(number)
    order = [number for number, count in enumerate(waiting) if not count]
    for number in order:  # grows while it is walked
        for dependent in dependents.get(number, ()):
            waiting[dependent] -= 1
            if not waiting[dependent]:
                order.append(dependent)
    return order


def cycles(dependencies: Dependencies) -> Iterator[list[int]]:
    """Cycles, as tasks each of which waits for the next and the last for the first.

    One for every edge that closes a cycle in a depth-first walk in the order of the tasks:
    without these edges no cycle is left. At most `MAX_CYCLES`.
    """
    found = 0
    fresh, open_, done = 0, 1, 2
    state = [fresh] * len(dependencies)
    for start in range(len(dependencies)):
        if state[start] != fresh:
            continue
        path = [start]
        walks = [iter(dependencies[start])]
        state[start] = open_
        while path:
            following = next(walks[-1], None)
            if following is None:
                walks.pop()
                state[path.pop()] = done
            elif state[following] == fresh:
                state[following] = open_
                path.append(following)
                walks.append(iter(dependencies[following]))
            elif state[following] == open_:
                yield path[path.index(following) :]
                found += 1
                if found == MAX_CYCLES:
                    return


def not_above(
    pairs: Iterable[tuple[int, int]], dependencies: Dependencies, order: Sequence[int]
) -> list[tuple[int, int]]:
    """Those pairs (task, target) whose target is no direct or indirect dependency of the task.

    Tasks that are not in `order` (a cycle holds them up) are not judged. Linear in the graph for
    every 4,096 different targets.
    """
    judged = set(order)
    by_task: dict[int, set[int]] = {}
    for task, target in pairs:
        by_task.setdefault(task, set()).add(target)
    open_pairs = [
        (task, target)
        for task, wanted in by_task.items()
        if task in judged
        for target in sorted(wanted.difference(dependencies[task]))
    ]
    targets = list(dict.fromkeys(target for _, target in open_pairs))
    missing: list[tuple[int, int]] = []
    for first in range(0, len(targets), _TARGETS_AT_ONCE):
        bits = {target: 1 << at for at, target in enumerate(targets[first:][:_TARGETS_AT_ONCE])}
        above = [0] * len(dependencies)
        """For each task, the targets among its dependencies and itself."""
        for number in order:
            mask = bits.get(number, 0)
            for dependency in dependencies[number]:
                mask |= above[dependency]
            above[number] = mask
        missing += [
            (task, target)
            for task, target in open_pairs
            if target in bits and (task == target or not above[task] & bits[target])
        ]
    return missing
