"""Whether requests find others in their turn is learnt from the turns before, and looked at again."""

from __future__ import annotations

from pillion.dataplane.gathering import Company


def test_nobody_is_alone_before_it_was_seen() -> None:
    company = Company()
    for _ in range(63):
        company.computed(1)
        assert not company.alone()
    company.computed(1)
    assert company.alone()


def test_who_finds_others_goes_on_looking() -> None:
    company = Company()
    for turn in range(640):
        company.computed(2 if turn % 4 == 0 else 1)
        assert not company.alone()


def test_it_is_looked_at_again_after_a_while() -> None:
    company = Company()
    for _ in range(64):
        company.computed(1)
    assert 1024 == sum(company.alone() for _ in range(5000))
    for _ in range(64):
        company.computed(3)
    assert not company.alone()
