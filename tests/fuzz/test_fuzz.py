"""The corpus of the fuzzers, replayed: what was once found, or reached something new, is read without a finding."""

from __future__ import annotations

import random

import pytest

from fuzz import TARGETS, corpus, load_target
from fuzz.mutation import mutate
from fuzz.run import PREFIX, WITH_HEADS


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.slow
def test_corpus(target: str) -> None:
    run = load_target(target)
    inputs = corpus(target)
    assert len(inputs) > 20
    for data in inputs:
        try:
            run(data)
        except Exception as error:
            raise AssertionError(f"{target}: {data.hex()}") from error


@pytest.mark.parametrize("target", TARGETS)
def test_a_few_mutations_of_the_corpus(target: str) -> None:
    run = load_target(target)
    inputs = corpus(target)
    choose = random.Random(1)
    for _ in range(60):
        data = choose.choice(inputs)
        for _ in range(3):
            data = mutate(data, choose, heads=target in WITH_HEADS, prefix=PREFIX[target], max_size=2000)
        try:
            run(data)
        except Exception as error:
            raise AssertionError(f"{target}: {data.hex()}") from error
