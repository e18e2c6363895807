"""An assembler for classic BPF, the language of seccomp filters: instructions and labels in, bytes out.

The subset that seccomp accepts and that a filter needs (kernel
`Documentation/userspace-api/seccomp_filter.rst`): load a word of
`struct seccomp_data`, mask it, compare, jump forward, return.
"""

from __future__ import annotations

LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
JUMP = 0x05  # BPF_JMP | BPF_JA
EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
GREATER_OR_EQUAL = 0x35  # BPF_JMP | BPF_JGE | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K
MAX_INSTRUCTIONS = 4096


class Assembler:
    """Collects instructions; `assemble` resolves the labels. A conditional jump without a label falls through."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, str, str]] = []
        self._labels: dict[str, int] = {}
        self._fresh = 0

    def fresh(self) -> str:
        """A label name that is used nowhere else."""
        self._fresh += 1
        return f".{self._fresh}"

    def label(self, name: str) -> None:
        """Give the next instruction the name `name`. Raises `ValueError` if it is taken."""
        if name in self._labels:
            raise ValueError(f"label {name} is defined twice")
        self._labels[name] = len(self._code)

    def load(self, offset: int) -> None:
        self._code.append((LOAD_WORD, offset, "", ""))

    def mask(self, value: int) -> None:
        self._code.append((AND, value, "", ""))

    def jump(self, target: str) -> None:
        self._code.append((JUMP, 0, target, ""))

    def branch(self, operator: int, value: int, then: str = "", otherwise: str = "") -> None:
        self._code.append((operator, value, then, otherwise))

    def ret(self, value: int) -> None:
        self._code.append((RETURN, value, "", ""))

    def assemble(self) -> bytes:
        """The program as an array of `struct sock_filter`. Raises `ValueError` for a bad jump or a long program."""
        if len(self._code) > MAX_INSTRUCTIONS:
            raise ValueError(f"a filter has {len(self._code)} instructions, the kernel takes {MAX_INSTRUCTIONS}")
        out = bytearray()
        for here, (code, value, then, otherwise) in enumerate(self._code):
            if code == JUMP:
                value, jt, jf = self._distance(here, then, 0xFFFFFFFF), 0, 0
            else:
                jt, jf = self._distance(here, then, 0xFF), self._distance(here, otherwise, 0xFF)
            out += code.to_bytes(2, "little") + bytes((jt, jf)) + value.to_bytes(4, "little")
        return bytes(out)

    def _distance(self, here: int, target: str, limit: int) -> int:
        if not target:
            return 0
        if target not in self._labels:
            raise ValueError(f"label {target} is not defined")
        distance = self._labels[target] - here - 1
        if not 0 <= distance <= limit:
            raise ValueError(f"label {target} is {distance} instructions away, the reach is 0 to {limit}")
        return distance
