"""The forms in which a secret's value may stand in bytes, and finding them there: as it is, and as programs encode it.

Base64 (RFC 4648, both alphabets) of bytes that begin at any of the three places of a group, hex in both cases,
percent-encoding as in URLs and forms (RFC 3986, WHATWG URL), and the escapes of a JSON string (RFC 8259): those that
there have to be, with those of Go's encoding/json, and with those of Python's json.dumps. Base64 and hex are also
found across the line ends that `base64` and `xxd -p` put between.
"""

from __future__ import annotations

from binascii import b2a_base64

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# A shorter value stands in every other file by chance, and all that hides it is that nobody may try often.
SHORTEST = 6
# Of a longer one this much of its middle is looked for.
LONGEST = 8192
# In a line of wrapped text two neighbouring pieces of this length cannot both be cut: `xxd -p` has 60 to a line.
_PIECE = 28
_BETWEEN = b"\r\n\t "
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
# What encoders leave as it is besides: Python, JavaScript, HTML forms, a whole path.
_LEFT = (b"~", b"~!*'()", b"*", b"~/")
# A line of a secret of several lines that says nothing, or too little.
_SHORTEST_LINE = 8
_ARMOUR = b"-----"


class Form(Record):
    """What to look for: `text`, which is a value of the secret `secret`, encoded as `kind` says ("" for not at all).

    `wraps`: line ends and what a line is indented by may stand within.
    """

    secret: str
    kind: str
    text: bytes
    wraps: bool = False


class Found(Record):
    """A form that stands in some bytes from `start` to `end`."""

    form: Form
    start: int
    end: int


def forms(secret: str, value: bytes) -> list[Form]:
    """All forms of a value, without the whitespace around it; none where that leaves fewer than `SHORTEST` bytes."""
    value = value.strip()
    if len(value) < SHORTEST:
        return []
    if len(value) > LONGEST:
        middle = (len(value) - LONGEST) // 2
        value = value[_character(value, middle) : _character(value, middle + LONGEST)]
    out = [Form(secret, "", value)]
    out += [Form(secret, "in base64", text, wraps=True) for text in _base64(value)]
    digits = value.hex().encode()
    out += [Form(secret, "in hex", text, wraps=True) for text in dict.fromkeys((digits, digits.upper()))]
    out += [Form(secret, "URL-encoded", text) for text in _percent(value) if text != value]
    out += [Form(secret, "in JSON", text) for text in _json(value) if text != value]
    return out


def lines(secret: str, value: bytes) -> list[Form]:
    """The lines of a value of several lines: programs print some of them, or something before each."""
    own = dict.fromkeys(line.strip() for line in value.strip().split(b"\n"))
    if len(own) < 2 or len(value) > LONGEST:
        return []
    return [
        Form(secret, "a line of it", line)
        for line in own
        if len(line) >= _SHORTEST_LINE and not line.startswith(_ARMOUR)
    ]


def _base64(value: bytes) -> list[bytes]:
    """The characters that hang on nothing but the value, for each number of bytes before it."""
    texts: dict[bytes, None] = {}
    for before in range(3):
        text = b2a_base64(b"\0" * before + value, newline=False)
        text = text[(before * 8 + 5) // 6 : (before + len(value)) * 8 // 6]
        texts[text] = texts[text.translate(_URL_SAFE)] = None
    return list(texts)


def _percent(value: bytes) -> list[bytes]:
    texts: dict[bytes, None] = {}
    for left in _LEFT:
        kept = _UNRESERVED.union(left)
        for digits in (b"%%%02X", b"%%%02x"):
            text = b"".join([bytes((byte,)) if byte in kept else digits % byte for byte in value])
            texts[text] = texts[text.replace(b"%20", b"+")] = None
    return list(texts)


def _json(value: bytes) -> list[bytes]:
    named = {8: b"\\b", 9: b"\\t", 10: b"\\n", 12: b"\\f", 13: b"\\r", 34: b'\\"', 92: b"\\\\"}
    text = b"".join([named.get(byte) or (b"\\u%04x" % byte if byte < 32 else bytes((byte,))) for byte in value])
    for_web = text
    for char in "&<>\u2028\u2029":
        for_web = for_web.replace(char.encode(), b"\\u%04x" % ord(char))
    # The units of UTF-16; a byte that is no UTF-8 is what Python makes of it in a variable.
    wide = value.decode("utf-8", "surrogateescape").encode("utf-16-be", "surrogatepass")
    units = [first << 8 | second for first, second in zip(wide[::2], wide[1::2], strict=True)]
    plain = [named.get(unit) or (bytes((unit,)) if 32 <= unit < 127 else b"\\u%04x" % unit) for unit in units]
    return list(dict.fromkeys((text, for_web, b"".join(plain))))


def _character(value: bytes, at: int) -> int:
    """The first place from one on where a character of UTF-8 begins, or that place where none does."""
    return next((place for place in range(at, min(at + 4, len(value))) if value[place] & 0xC0 != 0x80), at)


class Finder:
    """Finds forms. `reach` is the most bytes that one may take."""

    def __init__(self, wanted: Iterable[Form]) -> None:
        self.forms = tuple(wanted)
        self.shortest = min((len(form.text) for form in self.forms), default=0)
        self.reach = max((_reach(form) for form in self.forms), default=0)
        # `bytes.find` of each piece is several times as fast as one regular expression of them all.
        self._pieces = [(text, at, form) for form in self.forms for text, at in _pieces(form)]

    def first(self, data: bytes) -> Found | None:
        """One of the forms in some bytes; None where there is none."""
        for text, at, form in self._pieces:
            place = data.find(text)
            while place >= 0:
                if (found := _whole(data, place, at, form)) is not None:
                    return found
                place = data.find(text, place + 1)
        return None

    def all(self, data: bytes) -> list[Found]:
        """Every form in some bytes, by where it begins; they may overlap."""
        found: dict[tuple[int, int], Found] = {}
        for text, at, form in self._pieces:
            place = data.find(text)
            while place >= 0:
                if (one := _whole(data, place, at, form)) is not None:
                    found.setdefault((one.start, one.end), one)
                place = data.find(text, place + 1)
        return [found[place] for place in sorted(found)]

    def open_end(self, data: bytes) -> int:
        """From where on some bytes may be the beginning of a form that goes on behind them; their length if nowhere."""
        first = len(data)
        for form in self.forms:
            head = form.text[:1]
            at = data.find(head, max(0, len(data) - _reach(form)))
            while 0 <= at < first:
                tail = data[at:].translate(None, _BETWEEN) if form.wraps else data[at:]
                if len(tail) < len(form.text) and form.text.startswith(tail):
                    first = at
                    break
                at = data.find(head, at + 1)
        return first


def _reach(form: Form) -> int:
    # Lines of sixty characters, each indented by as much at most.
    return 2 * len(form.text) + 2 * _PIECE if form.wraps else len(form.text)


def _pieces(form: Form) -> list[tuple[bytes, int]]:
    """What to look for, and where in the form it stands: of one that wraps, two pieces side by side from its middle."""
    if not form.wraps:
        return [(form.text, 0)]
    middle = len(form.text) // 2
    length = min(_PIECE, middle)
    return [(form.text[at : at + length], at) for at in (middle - length, middle)]


def _whole(data: bytes, place: int, at: int, form: Form) -> Found | None:
    """The form of which the piece that stands `at` in it was found at a place; None where the rest is not there."""
    text = form.text
    if not form.wraps:
        return Found(form, place, place + len(text))
    end = place
    for byte in text[at:]:
        while end < len(data) and data[end] in _BETWEEN:
            end += 1
        if end == len(data) or data[end] != byte:
            return None
        end += 1
    start = place
    for byte in reversed(text[:at]):
        while start and data[start - 1] in _BETWEEN:
            start -= 1
        if not start or data[start - 1] != byte:
            return None
        start -= 1
    return Found(form, start, end)
