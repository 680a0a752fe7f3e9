"""Huffman coding of header strings (RFC 7541, section 5.2 and appendix B): decoding only, we send plain text.

The code is canonical: of two symbols with codes of one length, the smaller has the smaller code. So the lengths say all
of it. Strings are decoded four bits at a time by a table that is made on first use; no code is shorter than five bits,
so four bits end one symbol at most.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

__all__ = ["decode"]

_LENGTHS: Final = (
    # A is a code of 5 bits, B of 6, ...; of the 256 bytes in order and EOS.
    "ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHF"
    "IBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJBKABABABBBACCBBBABCBAABCCCCCKGJIX"
    "PRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRS"
    "VVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWV"
    "Z"
)
_EOS: Final = 256
_NOTHING: Final = -1


class _Machine(NamedTuple):
    """``steps[state * 16 + nibble]`` is the next state, and the symbol that has ended or -1; None breaks the code."""

    steps: list[tuple[int, int] | None]
    ends: frozenset[int]
    """States in which a string may end: nothing is open but at most seven bits of EOS."""


def decode(data: bytes) -> bytes:
    """The text.

    Raises:
        ValueError: no text has this code.
    """
    steps, ends = _machine()
    out = bytearray()
    state = 0
    for byte in data:
        for nibble in (byte >> 4, byte & 15):
            step = steps[state * 16 + nibble]
            if step is None:
                raise ValueError("the end of the string is coded in it")
            state, symbol = step
            if symbol >= 0:
                out.append(symbol)
    if state not in ends:
        raise ValueError("the padding is not the beginning of the code for the end")
    return bytes(out)


@cache
def _machine() -> _Machine:
    children, leaves = _walk()
    inner = [node for node, pair in enumerate(children) if pair]
    states = {node: state for state, node in enumerate(inner)}
    steps: list[tuple[int, int] | None] = []
    for node in inner:
        steps += [_step(children, states, leaves, node, nibble) for nibble in range(16)]
    ends, node = {0}, 0
    for _ in range(7):
        node = children[node][1]
        ends.add(states[node])
    return _Machine(steps, frozenset(ends))


def _step(
    children: list[list[int]], states: dict[int, int], leaves: dict[int, int], node: int, nibble: int
) -> tuple[int, int] | None:
    ended = _NOTHING
    for shift in (3, 2, 1, 0):
        node = children[node][nibble >> shift & 1]
        if not children[node]:
            ended = leaves[node]
            if ended == _EOS:
                return None
            node = 0
    return states[node], ended


def _codes() -> list[tuple[int, int, int]]:
    """Length, code and symbol, shortest first."""
    order = sorted((ord(letter) - ord("A") + 5, symbol) for symbol, letter in enumerate(_LENGTHS))
    code, previous = -1, order[0][0]
    codes = []
    for length, symbol in order:
        code = (code + 1) << (length - previous)
        previous = length
        codes.append((length, code, symbol))
    return codes


def _walk() -> tuple[list[list[int]], dict[int, int]]:
    children: list[list[int]] = [[]]
    leaves: dict[int, int] = {}
    for length, code, symbol in _codes():
        node = 0
        for shift in reversed(range(length)):
            if not children[node]:
                children[node] = [len(children), len(children) + 1]
                children += [[], []]
            node = children[node][code >> shift & 1]
        leaves[node] = symbol
    return children, leaves
