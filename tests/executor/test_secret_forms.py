"""A secret's value is found in whatever form it stands, wherever it begins, and nothing else is."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildkit_py.executor.secret_forms import LONGEST, SHORTEST, Finder, forms
from buildkit_py.executor.secret_gate import SecretGate
from buildkit_py.executor.secret_mask import Mask
from buildkit_py.graph.op import Mount, Run
from buildkit_py.graph.step import Step
from tests.needs import need

TOKEN = b"ghp_16C7e42F292c/6912E7710c838347+Ae178B4a"
VALUES = st.binary(min_size=SHORTEST, max_size=300).filter(lambda value: len(value.strip()) >= SHORTEST)
AROUND = st.binary(max_size=100)


def finder(value: bytes) -> Finder:
    return Finder(forms("t", value))


def _wrapped(text: bytes, width: int, indent: bytes = b"") -> bytes:
    return b"\n".join(indent + text[at : at + width] for at in range(0, len(text), width))


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "base64": base64.b64encode,
    "base64 for URLs": base64.urlsafe_b64encode,
    "base64 in lines": lambda data: _wrapped(base64.b64encode(data), 76),
    "base64 in lines of PEM": lambda data: _wrapped(base64.b64encode(data), 64),
    "base64 in YAML": lambda data: _wrapped(base64.b64encode(data), 70, b"    "),
    "hex": lambda data: data.hex().encode(),
    "hex in capitals": lambda data: data.hex().upper().encode(),
    "hex in lines": lambda data: _wrapped(data.hex().encode(), 60),
}


@pytest.mark.parametrize("encoder", ENCODERS)
@given(value=VALUES, before=AROUND, after=AROUND)
def test_it_is_found_among_other_bytes_that_are_encoded_with_it(
    encoder: str, value: bytes, before: bytes, after: bytes
) -> None:
    data = ENCODERS[encoder](before + value + after)
    assert finder(value).first(data) is not None


@given(value=st.text(min_size=SHORTEST, max_size=60).filter(lambda text: len(text.encode().strip()) >= SHORTEST))
@example("000000 ")
def test_it_is_found_where_text_is_quoted(value: str) -> None:
    found = finder(value.encode())
    escaped = (json.dumps(value, ensure_ascii=False), json.dumps(value), _as_go_escapes(value))
    for text in (quote(value), quote(value, safe=""), quote_plus(value), *escaped):
        assert found.first(f"<{text}>".encode()) is not None
    # Quoted twice it is not, but for one that stays as it is, without the blanks around it.
    twice = quote(value, safe="").replace("%", "%25").encode()
    assert found.first(twice) is None or "%" not in quote(value.encode().strip(), safe="")


def _as_go_escapes(value: str) -> str:
    """A JSON string as `json.Marshal` of Go 1.22 has it, which escapes what means something in HTML and JavaScript."""
    text = json.dumps(value, ensure_ascii=False)
    for char in "&<>\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def test_json_has_several_forms() -> None:
    value = "p&q<r>s-ünïcödé-\U0001f511"
    found = finder(value.encode())
    for text in (
        "p\\u0026q\\u003cr\\u003es-ünïcödé-\U0001f511",
        r"p&q<r>s-\u00fcn\u00efc\u00f6d\u00e9-\ud83d\udd11",
    ):
        one = found.first(f'{{"password": "{text}"}}'.encode())
        assert one is not None
        assert one.form.kind == "in JSON"


@pytest.mark.parametrize("shift", range(4))
def test_the_middle_of_a_long_text_is_of_whole_characters(shift: int) -> None:
    value = "x" * shift + "ä€𐍈-" * LONGEST
    assert finder(value.encode()).first(json.dumps(value).encode()) is not None


@pytest.mark.parametrize("command", [["base64"], ["base64", "-w", "0"], ["xxd", "-p"], ["od", "-An", "-v", "-c"]])
def test_it_is_found_in_what_programs_write(command: list[str]) -> None:
    need(command[0])
    value = TOKEN * 3
    done = subprocess.run(command, input=b"user:" + value + b"\n", capture_output=True, check=True)
    # od writes each byte as a word of its own, which is more than a form of the value.
    assert (finder(value).first(done.stdout) is not None) == (command[0] != "od")


@given(value=st.binary(min_size=16, max_size=60), other=st.binary(max_size=400))
def test_nothing_else_is_found(value: bytes, other: bytes) -> None:
    value = b"a" + value + b"a"  # no whitespace around it
    found = finder(value).first(other)
    assert found is None or value in other


def test_what_differs_in_one_byte_is_another_value() -> None:
    for at in range(len(TOKEN)):
        # Of the first byte the high bits and of the last one the low ones share a base64 character with a neighbour.
        bit = 1 if at < 20 else 0x80
        other = TOKEN[:at] + bytes((TOKEN[at] ^ bit,)) + TOKEN[at + 1 :]
        for encode in ENCODERS.values():
            found = finder(TOKEN).first(encode(b"x" + other + b"x"))
            assert found is None, (at, found)


def test_the_newline_of_a_file_is_none_of_the_value() -> None:
    assert finder(TOKEN + b"\n").first(b"token=" + TOKEN + b";") is not None


def test_a_short_value_has_no_form() -> None:
    assert forms("t", b" " * 9 + b"x" * (SHORTEST - 1) + b"\n") == []
    assert forms("t", b"x" * SHORTEST) != []


def test_of_a_long_value_the_middle_is_looked_for() -> None:
    value = bytes(range(33, 127)) * 1000
    assert max(len(form.text) for form in forms("t", value)) <= 6 * LONGEST
    assert finder(value).first(value) is not None


@given(
    value=st.binary(min_size=SHORTEST, max_size=40).filter(lambda value: len(value.strip()) >= SHORTEST),
    parts=st.lists(st.binary(max_size=30), min_size=1, max_size=4),
    data=st.data(),
)
def test_a_mask_hides_it_however_the_output_is_cut(value: bytes, parts: list[bytes], data: st.DataObject) -> None:
    value = value.strip()
    text = value.join(parts)
    mask = Mask(finder(value))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    shown = b"".join(mask.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)) + mask.end()
    assert value not in shown.replace(b"***", b"")
    if value not in b"".join(parts) and len(parts) > 1:
        assert mask.hidden == {"t"}


# Values of which one begins, ends or stands in another one, or goes over into itself.
ENTANGLED = (b"deployer", b"deployer:pa55word", b"word-and-more", b"aaaaaaaa", b"55word")


def _entangled() -> Finder:
    return Finder([form for value in ENTANGLED for form in forms(value.decode(), value)])


def _masked(pieces: list[bytes]) -> tuple[bytes, set[str]]:
    mask = Mask(_entangled())
    return b"".join([mask.feed(piece) for piece in pieces]) + mask.end(), mask.hidden


def test_a_longer_value_is_hidden_whole_where_it_begins_with_a_shorter_one() -> None:
    text = b"user deployer:pa55word ok"
    for at in range(len(text)):
        assert _masked([text[:at], text[at:]])[0] == b"user *** ok"
    assert _masked([b"I am deployer"]) == (b"I am ***", {"deployer"})
    assert _masked([b"deployer", b":pa55", b"x"])[0] == b"***:pa55x"


PARTS = st.one_of(
    st.sampled_from(ENTANGLED),
    st.sampled_from([encode(b"x" + value + b"y") for value in ENTANGLED for encode in ENCODERS.values()]),
    st.sampled_from(ENTANGLED).flatmap(lambda value: st.integers(1, len(value)).map(lambda end: value[:end])),
    st.sampled_from([b"\n", b" ", b"-", b"a", b"text\n"]),
)


@given(parts=st.lists(PARTS, max_size=8), data=st.data())
def test_what_a_mask_shows_does_not_depend_on_how_the_output_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    text = b"".join(parts)
    whole = _masked([text])
    assert _entangled().first(whole[0].replace(b"***", b"\0")) is None
    assert _masked([text[at : at + 1] for at in range(len(text))]) == whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    assert _masked([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]) == whole


def test_a_mask_holds_back_little_of_a_value_that_goes_on_into_itself() -> None:
    mask = Mask(_entangled())
    shown = b"".join([mask.feed(b"a" * 100) for _ in range(100)])
    assert shown == b"***"
    assert mask.feed(b".\n") == b".\n"


def test_a_mask_gives_everything_else_as_it_was() -> None:
    mask = Mask(finder(TOKEN))
    text = b"one\n" + TOKEN[:-1] + b"\ntwo " + TOKEN + b" three\n" + TOKEN[:5]
    shown = b"".join(mask.feed(text[at : at + 1]) for at in range(len(text))) + mask.end()
    assert shown == b"one\n" + TOKEN[:-1] + b"\ntwo *** three\n" + TOKEN[:5]


def test_a_mask_hides_wrapped_base64_that_comes_line_by_line() -> None:
    value = TOKEN * 4
    mask = Mask(finder(value))
    lines = base64.encodebytes(b"x" * 56 + value + b"y" * 60).splitlines(keepends=True)
    shown = b"".join([mask.feed(line) for line in lines]) + mask.end()
    assert finder(value).first(shown) is None
    assert b"***" in shown
    assert len(shown) < 200


def test_a_whole_line_is_held_back_only_while_more_comes() -> None:
    mask = Mask(finder(TOKEN))
    first = next(form.text for form in forms("t", TOKEN) if form.kind == "in base64")[:1]
    shown = mask.feed(b"downloading " + first + b"\n")
    assert shown == b"downloading "
    assert mask.waits
    assert mask.lull() == first + b"\n"
    assert not mask.waits


def test_a_secret_is_read_once_to_look_for_it() -> None:
    reads = []

    def value(id: str) -> bytes:
        reads.append(id)
        return TOKEN

    gate = SecretGate(value, ["t", "other"], lambda event: None)
    step = Step(Run(("true",), mounts=(Mount("secret", "/t", id="t"),)), name="RUN true")
    gate.learn([step])
    gate.expect([step])
    gate.expect([step])
    assert reads == ["t"]
    gate.secret("t")  # the step itself gets what is there then
    assert reads == ["t", "t"]
