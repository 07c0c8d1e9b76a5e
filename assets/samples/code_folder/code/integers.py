"""Whole numbers."""


def primes(limit: int) -> list[int]:
    """Return all primes below a limit with the sieve of Eratosthenes.

    >>> primes(20)
    [2, 3, 5, 7, 11, 13, 17, 19]
    """
    sieve = [False, False, *[True] * (limit - 2)]
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            for multiple in range(number * number, limit, number):
                sieve[multiple] = False
    return [number for number in range(2, limit) if sieve[number]]


def factors(number: int) -> list[int]:
    """Split a number into its prime factors, smallest first.

    >>> factors(360)
    [2, 2, 2, 3, 3, 5]
    """
    found, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


def gcd(first: int, second: int) -> int:
    """Return the greatest common divisor by Euclid's algorithm.

    >>> gcd(84, 36)
    12
    """
    while second:
        first, second = second, first % second
    return abs(first)


def to_roman(number: int) -> str:
    """Write a number from 1 to 3999 in Roman numerals.

    >>> to_roman(1994)
    'MCMXCIV'
    """
    if not 0 < number < 4000:
        raise ValueError(f"{number} cannot be written in Roman numerals")
    signs = ["M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"]
    values = (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1)
    result = ""
    for sign, value in zip(signs, values, strict=True):
        count, number = divmod(number, value)
        result += sign * count
    return result


def in_base(number: int, base: int) -> str:
    """Write a number that is not negative with the digits of a base from 2 to 16.

    >>> in_base(255, 16), in_base(5, 2), in_base(0, 7)
    ('ff', '101', '0')
    """
    digits = ""
    while number or not digits:
        number, digit = divmod(number, base)
        digits = "0123456789abcdef"[digit] + digits
    return digits
