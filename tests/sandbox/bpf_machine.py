"""A machine for classic BPF as seccomp runs it, to compare programs by what they answer."""

from __future__ import annotations


def evaluate(program: bytes, arch: int, number: int, arguments: tuple[int, ...]) -> int:
    """The action that `program` returns for one system call. Raises `ValueError` for an unknown instruction."""
    data = number.to_bytes(4, "little") + arch.to_bytes(4, "little") + bytes(8)
    data += b"".join(argument.to_bytes(8, "little") for argument in arguments)
    accumulator = 0
    memory = [0] * 16
    position = 0
    while True:
        instruction = program[8 * position : 8 * position + 8]
        code = int.from_bytes(instruction[:2], "little")
        yes, no, value = instruction[2], instruction[3], int.from_bytes(instruction[4:], "little")
        position += 1
        if code == 0x20:
            accumulator = int.from_bytes(data[value : value + 4], "little")
        elif code == 0x00:
            accumulator = value
        elif code == 0x02:
            memory[value] = accumulator
        elif code == 0x60:
            accumulator = memory[value]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            position += value
        elif code in (0x15, 0x25, 0x35, 0x45):
            taken = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            position += yes if taken else no
        elif code == 0x06:
            return value
        else:
            raise ValueError(f"instruction {code:#x}")
