"""Ciphers from before computers: for puzzles, never for secrets."""

import string

LETTERS = string.ascii_lowercase


def caesar(text: str, shift: int) -> str:
    """Move each letter along the alphabet; a shift the other way deciphers.

    >>> caesar("Hello!", 3), caesar("Khoor!", -3)
    ('Khoor!', 'Hello!')
    """
    moved = LETTERS[shift % 26 :] + LETTERS[: shift % 26]
    return text.translate(str.maketrans(LETTERS + LETTERS.upper(), moved + moved.upper()))


def vigenere(text: str, key: str) -> str:
    """Encipher small letters with a key word that is repeated; other characters stay.

    >>> vigenere("attack at dawn", "lemon")
    'lxfopv ef rnhr'
    """
    result, used = "", 0
    for character in text:
        if character in LETTERS:
            result += caesar(character, LETTERS.index(key[used % len(key)]))
            used += 1
        else:
            result += character
    return result


def run_lengths(text: str) -> list[tuple[str, int]]:
    """Shorten runs of one character to the character and its count.

    >>> run_lengths("aaabcc")
    [('a', 3), ('b', 1), ('c', 2)]
    """
    runs: list[tuple[str, int]] = []
    for character in text:
        if runs and runs[-1][0] == character:
            runs[-1] = (character, runs[-1][1] + 1)
        else:
            runs.append((character, 1))
    return runs


def check_digit(digits: str) -> int:
    """Return the Luhn digit that makes a number valid when it is put behind it.

    >>> check_digit("7992739871")
    3
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return -total % 10
