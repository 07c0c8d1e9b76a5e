"""Text for the width of a page."""


def wrap(text: str, width: int) -> list[str]:
    """Break a text into lines of at most `width` characters; a longer word gets a line of its own.

    >>> wrap("the quick brown fox", 10)
    ['the quick', 'brown fox']
    """
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def justify(line: str, width: int) -> str:
    """Widen the gaps of a line so that it fills the width, the first gaps most.

    >>> justify("to be or", 11)
    'to   be  or'
    """
    words = line.split()
    if len(words) < 2:
        return line
    spaces, extra = divmod(width - sum(map(len, words)), len(words) - 1)
    gaps = [" " * (spaces + (place < extra)) for place in range(len(words) - 1)] + [""]
    return "".join(word + gap for word, gap in zip(words, gaps, strict=True))


def box(text: str) -> str:
    """Draw a frame around one line of text.

    >>> print(box("hi"))
    +----+
    | hi |
    +----+
    """
    edge = f"+{'-' * (len(text) + 2)}+"
    return f"{edge}\n| {text} |\n{edge}"


def table(rows: list[list[str]]) -> str:
    """Align the cells of each column on the left.

    >>> print(table([["id", "name"], ["17", "Ada"]]))
    id name
    17 Ada
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    filled = (" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in filled)
