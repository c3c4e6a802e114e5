"""What names or reaches a person is masked: mail addresses, numbers of telephones, cards, accounts.

    Write to ann@acme.org or +39 06 1234 5678.  ->  Write to <EMAIL> or <PHONE>.

Only forms that are hardly anything else: of card and account numbers those whose check digits are right, of network
addresses public ones that look like no version. Mathematics keeps its numbers; code keeps all but mail addresses of
well-known endings, since `x @ layer.weight` is none and a test may stand on a number.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ablate.corpus import turns
from ablate.corpus.document import Document
from ablate.corpus.step import Result

EMAIL = re.compile(r"(?<![\w.+%@/-])[A-Za-z0-9][\w.+%-]{0,63}@(?:[A-Za-z0-9-]+\.)+([A-Za-z]{2,24})(?![\w@-])", re.ASCII)
IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w/]|\.\d)", re.ASCII)
IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{1,4}(?![\w:/])")
PHONE = re.compile(
    r"(?<![\w+(.,~-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){2,4}"
    r"|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?![\w-]|[.,]\d)",
    re.ASCII,
)
CARD = re.compile(
    r"(?<![\w.,-])(?:\d{13,16}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{5})(?![\w-]|[.,]\d)", re.ASCII
)
IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)", re.ASCII)
DOTS, COLONS = re.compile(r"\.\d{1,3}\.\d{1,3}\.\d", re.ASCII), re.compile(":[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]")
VERSION = re.compile(r"(?:version|release|section|chapter|clause|build|ver|rev|firmware|§)\W*$", re.IGNORECASE)
ENDINGS = {
    *["com", "org", "net", "edu", "gov", "info", "io", "dev", "de", "fr", "uk", "nl", "ch", "pl", "cz", "se", "dk"],
    *["ru", "cn", "jp", "kr", "br", "au", "ca", "es", "eu"],
}
# With the digits that each issuer has: barcodes of 13 and serial numbers of telephones of 15 pass the same check
CARDS = re.compile(r"4\d{15}|5[1-5]\d{14}|2[2-7]\d{14}|35\d{14}|3[47]\d{13}|36\d{12}|(?:6011|65..)\d{12}")


# git@github.com, ssh-ed25519@openssh.com and user@1000.service: an account of a host, an algorithm, a unit of systemd
NOBODY = re.compile(
    r"git@.*|.*@(?:[\w-]+\.)*example\..*|.*@(?:openssh\.com|libssh\.org|lysator\.liu\.se)"
    r"|.*\.(?:service|socket|target|mount|automount|timer|slice|scope|device|swap|path)",
    re.IGNORECASE,
)


def _address(match: re.Match[str]) -> bool:
    return not NOBODY.fullmatch(match[0])


def _address_in_code(match: re.Match[str]) -> bool:
    return _address(match) and match[1] in ENDINGS


def _public(match: re.Match[str]) -> bool:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return False
    first, second, *_ = address.packed
    small = max(address.packed) < 32 or (first < 10 and second < 64)  # 1.4.2.10, 2.6.38.6: versions and sections
    named = VERSION.search(match.string[max(0, match.start() - 12) : match.start()])
    return address.is_global and not (address.version == 4 and (small or named))


def _long(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match[0])
    return 10 <= len(digits) <= 15 and not digits.endswith("000000")  # +1 250 000 000 is an amount


def _luhn(match: re.Match[str]) -> bool:
    number = re.sub("[ -]", "", match[0])
    digits = [int(digit) for digit in number]
    doubled = [
        digit if place % 2 == 0 else (2 * digit) // 10 + (2 * digit) % 10 for place, digit in enumerate(digits[::-1])
    ]
    return CARDS.fullmatch(number) is not None and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def _checked(match: re.Match[str]) -> bool:
    account = match[0].replace(" ", "")
    return int("".join(str(int(letter, 36)) for letter in account[4:] + account[:4])) % 97 == 1


class _Mask(NamedTuple):
    name: str
    sign: str  # of those a text can have, which are told quickly
    form: re.Pattern[str]
    real: Callable[[re.Match[str]], bool]

    def __call__(self, text: str) -> tuple[str, int]:
        count = 0

        def put(match: re.Match[str]) -> str:
            nonlocal count
            if not self.real(match):
                return match[0]
            count += 1
            return f"<{self.name.upper()}>"

        return self.form.sub(put, text), count


ALL = [
    *[
        _Mask("email", "@", EMAIL, _address),
        _Mask("iban", "account", IBAN, _checked),
        _Mask("card", "account", CARD, _luhn),
    ],
    *[_Mask("phone", "phone", PHONE, _long), _Mask("ip", "dots", IPV4, _public), _Mask("ip", "colons", IPV6, _public)],
]
MASKS = {"prose": ALL, "qa": ALL, "math": ALL[:2], "code": [_Mask("email", "@", EMAIL, _address_in_code)]}


class Masks:
    name, rounds = "masks", 0

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def key(self) -> dict[str, Any]:
        return {"name": self.name, "version": 3, "kind": self.kind}

    def look(self, round: int, documents: Sequence[Document], told: Any) -> None: ...

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> None: ...

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        return [_masked(document, MASKS[self.kind]) for document in documents]


def _masked(document: Document, masks: Sequence[_Mask]) -> Result:
    """Part by part where it has some, which then stay known."""
    noted = dict[str, float]()
    if turns.has_parts(document):
        kept = turns.parts_of(document, document.source)
        found = [part._replace(text=_without(part.text, masks, noted)) for part in kept]
        masked = turns.document(found, document.source, document.meta)
    else:
        masked = document._replace(text=_without(document.text, masks, noted))
    return Result((masked,), noted=noted) if noted else Result((document,))


def _without(text: str, masks: Sequence[_Mask], noted: dict[str, float]) -> str:
    """The text masked; what was masked is added to what is noted."""
    signs = _signs(text)
    again = bool(signs)
    while again:  # what is masked may uncover what stood against it
        again = False
        for mask in masks:
            text, count = mask(text) if mask.sign in signs else (text, 0)
            if count:
                noted[f"masked.{mask.name}"] = noted.get(f"masked.{mask.name}", 0) + count
                again = True
    return text


def _signs(text: str) -> set[str]:
    """What a text may have: an @, digits close together, or between dots or colons."""
    found = {"@": "@" in text, "dots": DOTS.search(text) is not None, "colons": COLONS.search(text) is not None}
    bytes_B = np.frombuffer(text.encode(), dtype=np.uint8)
    places = np.flatnonzero(bytes_B - np.uint8(48) < 10)
    for name, count, within in (("phone", 10, 24), ("account", 12, 30)):
        found[name] = len(places) >= count and bool((places[count - 1 :] - places[: 1 - count] < within).any())
    return {name for name, is_there in found.items() if is_there}
