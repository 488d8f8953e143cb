"""Whole numbers in English words."""

UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = (
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
)  # fmt: skip
MAX_NUMBER = 999_999


def number_words(number: int) -> str:
    """Returns a number of 0 to 999,999 in words: `"three hundred forty two"` for 342."""
    if number < 20:
        return UNITS[number]
    if number < 100:
        return _joined(TENS[number // 10 - 2], number % 10)
    if number < 1000:
        return _joined(f"{UNITS[number // 100]} hundred", number % 100)
    return _joined(f"{number_words(number // 1000)} thousand", number % 1000)


def _joined(words, rest):
    return f"{words} {number_words(rest)}" if rest else words
