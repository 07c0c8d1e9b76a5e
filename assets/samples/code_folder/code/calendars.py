"""Arithmetic with dates of the Gregorian calendar."""

import datetime


def is_leap(year: int) -> bool:
    """Tell whether a year has a 29th of February.

    >>> [year for year in (1900, 2000, 2023, 2024) if is_leap(year)]
    [2000, 2024]
    """
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    """Return how many days a month has.

    >>> days_in_month(2024, 2), days_in_month(2023, 11)
    (29, 30)
    """
    if month == 2:
        return 29 if is_leap(year) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def add_months(day: datetime.date, months: int) -> datetime.date:
    """Move a date by whole months; a day that the month lacks becomes its last.

    >>> add_months(datetime.date(2024, 1, 31), 1)
    datetime.date(2024, 2, 29)
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return datetime.date(year, month + 1, min(day.day, days_in_month(year, month + 1)))


def working_days(first: datetime.date, last: datetime.date) -> int:
    """Count the days from Monday to Friday between two dates, both included.

    >>> working_days(datetime.date(2024, 5, 3), datetime.date(2024, 5, 7))
    3
    """
    span = range((last - first).days + 1)
    return sum((first + datetime.timedelta(days=each)).weekday() < 5 for each in span)


def easter(year: int) -> datetime.date:
    """Return Easter Sunday of a year by the rule of Gauss and its later corrections.

    >>> easter(2024)
    datetime.date(2024, 3, 31)
    """
    golden, century = year % 19, year // 100
    moon = (century - century // 4 - (8 * century + 13) // 25 + 19 * golden + 15) % 30
    moon -= (moon // 28) * (1 - (29 // (moon + 1)) * ((21 - golden) // 11))
    weekday = (year + year // 4 + moon + 2 - century + century // 4) % 7
    month = 3 + (moon - weekday + 40) // 44
    return datetime.date(year, month, moon - weekday + 28 - 31 * (month // 4))
