"""Searching graphs that are given as neighbours and distances."""

import heapq
from collections import deque

Graph = dict[str, dict[str, float]]


def reachable(graph: Graph, start: str) -> set[str]:
    """Return all places that can be reached from a place, itself included.

    >>> sorted(reachable({"a": {"b": 1}, "b": {}, "c": {"a": 1}}, "a"))
    ['a', 'b']
    """
    seen, waiting = {start}, [start]
    while waiting:
        for neighbour in graph[waiting.pop()]:
            if neighbour not in seen:
                seen.add(neighbour)
                waiting.append(neighbour)
    return seen


def fewest_steps(graph: Graph, start: str, goal: str) -> list[str] | None:
    """Find a path with the fewest edges by breadth-first search; None where there is none.

    >>> fewest_steps({"a": {"b": 9, "c": 1}, "b": {}, "c": {"b": 1}}, "a", "b")
    ['a', 'b']
    """
    waiting, before = deque([start]), {start: start}
    while waiting:
        place = waiting.popleft()
        if place == goal:
            path = [goal]
            while path[-1] != start:
                path.append(before[path[-1]])
            return path[::-1]
        for neighbour in graph[place]:
            if neighbour not in before:
                before[neighbour] = place
                waiting.append(neighbour)
    return None


def shortest_distances(graph: Graph, start: str) -> dict[str, float]:
    """Return the least distance to every place that can be reached, by Dijkstra's algorithm.

    >>> shortest_distances({"a": {"b": 9, "c": 1}, "b": {}, "c": {"b": 2}}, "a")
    {'a': 0, 'c': 1, 'b': 3}
    """
    done: dict[str, float] = {}
    waiting: list[tuple[float, str]] = [(0, start)]
    while waiting:
        distance, place = heapq.heappop(waiting)
        if place in done:
            continue
        done[place] = distance
        for neighbour, step in graph[place].items():
            heapq.heappush(waiting, (distance + step, neighbour))
    return done


def order(needs: dict[str, list[str]]) -> list[str]:
    """Sort tasks so that each comes after those it needs; raise ValueError for a circle.

    >>> order({"eat": ["cook"], "cook": ["shop"], "shop": []})
    ['shop', 'cook', 'eat']
    """
    done: list[str] = []
    left = dict(needs)
    while left:
        ready = [task for task, wanted in left.items() if all(each in done for each in wanted)]
        if not ready:
            raise ValueError(f"these tasks wait for each other: {', '.join(left)}")
        done += ready
        left = {task: wanted for task, wanted in left.items() if task not in ready}
    return done
