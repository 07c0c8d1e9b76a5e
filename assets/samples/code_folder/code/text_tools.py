"""Small functions for strings."""

import re
import unicodedata


def slug(title: str) -> str:
    """Turn a title into a name for a web address: small letters, digits and hyphens.

    >>> slug("  Crème brûlée, for two! ")
    'creme-brulee-for-two'
    """
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def is_palindrome(text: str) -> bool:
    """Tell whether a text reads the same backwards, ignoring case, spaces and marks.

    >>> is_palindrome("Was it a car or a cat I saw?")
    True
    """
    letters = [character for character in text.casefold() if character.isalnum()]
    return letters == letters[::-1]


def count_words(text: str) -> dict[str, int]:
    """Count how often each word occurs, most frequent first, equal counts by alphabet.

    >>> count_words("the cat and the hat")
    {'the': 2, 'and': 1, 'cat': 1, 'hat': 1}
    """
    counts: dict[str, int] = {}
    for word in re.findall(r"\w+", text.lower()):
        counts[word] = counts.get(word, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def edit_distance(first: str, second: str) -> int:
    """Return how many letters must be inserted, deleted or replaced to get from one word to the other.

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(second, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]
