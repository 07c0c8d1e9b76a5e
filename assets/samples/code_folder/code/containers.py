"""Containers with a rule of their own."""

from collections import OrderedDict
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Stack(Generic[Item]):
    """A pile: what was put on last comes off first.

    >>> pile = Stack()
    >>> pile.push("a"); pile.push("b")
    >>> pile.pop()
    'b'
    """

    def __init__(self) -> None:
        self._items: list[Item] = []

    def push(self, item: Item) -> None:
        """Put an item on top."""
        self._items.append(item)

    def pop(self) -> Item:
        """Take the top item off; raise IndexError where there is none."""
        return self._items.pop()

    def __len__(self) -> int:
        """Return how many items lie on the pile."""
        return len(self._items)


class Ring(Generic[Item]):
    """A list of fixed size in which a new item pushes the oldest out.

    >>> ring = Ring(2)
    >>> for letter in "abc": ring.add(letter)
    >>> ring.items()
    ['b', 'c']
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: list[Item] = []

    def add(self, item: Item) -> None:
        """Add an item, and drop the oldest where the ring is full."""
        self._items = [*self._items, item][-self._size :]

    def items(self) -> list[Item]:
        """Return the items, the oldest first."""
        return list(self._items)


class Recent(Generic[Item]):
    """A cache that forgets what has not been asked for the longest.

    >>> cache = Recent(2)
    >>> cache.put("a", 1); cache.put("b", 2)
    >>> cache.get("a"); cache.put("c", 3)
    1
    >>> cache.get("b") is None
    True
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[str, Item] = OrderedDict()

    def get(self, key: str) -> Item | None:
        """Return what is stored under a key, now the newest; None where nothing is."""
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def put(self, key: str, item: Item) -> None:
        """Store an item; the one unused for longest makes room."""
        self._items[key] = item
        self._items.move_to_end(key)
        if len(self._items) > self._size:
            self._items.popitem(last=False)
