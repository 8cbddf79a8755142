"""Dates as text, and the numbers that stand for them: days since 1970-01-01."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1)
_DAY = 86400.0
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?\s?(?:Z|[+-]\d{2}:?\d{2})?)?")
_TIME = re.compile(r"^(.*\d)[T ](\d{1,2}:\d{2})(?::(\d{2}))?$")

# In this order: of two that read a column equally well, the first is taken. Month before day, as most tables with
# slashes have it; where a first number is above 12, day before month reads more, and is taken.
FORMS = ("iso", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y",
         "%B %d, %Y", "%d-%b-%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y")  # fmt: skip
_DIGIT = re.compile(r"\d")


def reader(form: str) -> Callable[[str], float | None]:
    """What reads texts of one form, to days since 1970-01-01; None for what is no such date.

    A time zone is taken into account, to universal time; a date without one is left as it is.

    >>> reader("iso")("1970-01-02 06:00"), reader("%d.%m.%Y")("3.1.1970"), reader("iso")("1970-02-30")
    (1.25, 2.0, None)
    """
    if form not in FORMS:
        raise ValueError(f"unknown form of dates {form!r}: use one of {', '.join(FORMS)}")
    return _iso if form == "iso" else lambda text: _other(text, form)


def form_of(texts: Iterable[str]) -> tuple[str, int]:
    """The form that most of some texts have, and how many have it.

    >>> form_of(["13/01/2020", "02/03/2021"])
    ('%d/%m/%Y', 2)
    """
    texts = [text for text in texts if 6 <= len(text) <= 40 and _DIGIT.search(text)]
    counts = {form: sum(date is not None for date in map(reader(form), texts)) for form in FORMS}
    best = max(FORMS, key=lambda form: counts[form])
    return best, counts[best]


def days(moment: datetime) -> float:
    """Days from 1970-01-01 to a moment.

    >>> days(datetime(1970, 1, 3, 12))
    2.5
    """
    moment = moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - _EPOCH).total_seconds() / _DAY


def written(number: float) -> str:
    """A date for people, of a number of days.

    >>> written(2.5), written(2.0)
    ('1970-01-03 12:00', '1970-01-03')
    """
    import numpy as np

    text = str(np.datetime64("1970-01-01T00:00") + np.timedelta64(round(number * 1440), "m"))
    return text.replace("T00:00", "").replace("T", " ")


def _iso(text: str) -> float | None:
    if not _ISO.fullmatch(text):
        return None
    try:
        return days(datetime.fromisoformat(text.replace(",", ".").replace(" Z", "Z")))
    except (ValueError, OverflowError):
        return None


def _other(text: str, form: str) -> float | None:
    timed = _TIME.match(text)
    try:
        if timed:
            hour, minute = map(int, timed[2].split(":"))
            moment = datetime.strptime(timed[1], form)
            return days(moment.replace(hour=hour, minute=minute, second=int(timed[3] or 0)))
        return days(datetime.strptime(text, form))
    except (ValueError, OverflowError):
        return None
