"""The catalogue joins: any order and any repetition of the same mutations give one catalogue."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.core.errors import InvalidRequestError, UnknownGenerationError
from nextbest.server.catalogue import Catalogue
from nextbest.v1 import mutation_pb2, playbook_pb2

HASHES = [bytes([n]) * 16 for n in range(1, 7)]


def published(hash_bytes: bytes, stamp: int, number: int = 1, at_us: int = 0) -> bytes:
    publication = mutation_pb2.Publication(
        hash=hash_bytes,
        number=number,
        published_at_us=at_us or stamp,
        request=playbook_pb2.PublishPlaybookRequest(write_id=f"w{stamp}"),
    )
    mutation = mutation_pb2.Mutation(stamp=stamp, publication=publication)
    return mutation.SerializeToString()


def activated(hash_bytes: bytes, stamp: int) -> bytes:
    activation = mutation_pb2.Activation(hash=hash_bytes)
    return mutation_pb2.Mutation(stamp=stamp, activation=activation).SerializeToString()


publications = st.builds(
    published,
    st.sampled_from(HASHES),
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(1, 3),
)
activations = st.builds(activated, st.sampled_from(HASHES), st.integers(1, 20))


def joined(mutations: list[bytes], most: int) -> Catalogue:
    catalogue = Catalogue(most)
    for mutation in mutations:
        catalogue.apply(mutation)
    return catalogue


def shown(catalogue: Catalogue) -> object:
    numbers = [(one.number, one.hash) for one in catalogue.generations()]
    return catalogue.digest(), catalogue.active, numbers, catalogue.mutations()


@st.composite
def histories(draw: st.DrawFn, kinds: st.SearchStrategy[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Some mutations, and the same ones in another order with some of them repeated."""
    mutations = draw(st.lists(kinds, max_size=24))
    again = draw(st.permutations(mutations + draw(st.lists(st.sampled_from(mutations or [b""])))))
    return mutations, [mutation for mutation in again if mutation]


@settings(max_examples=300, deadline=None)
@given(histories(publications | activations))
def test_any_order_and_repetition_give_the_same_catalogue(
    history: tuple[list[bytes], list[bytes]],
) -> None:
    first, second = (joined(one, len(HASHES)) for one in history)
    assert shown(first) == shown(second)


@settings(max_examples=300, deadline=None)
@given(histories(publications), st.integers(1, 5))
def test_the_same_ones_are_forgotten_in_any_order(
    history: tuple[list[bytes], list[bytes]], most: int
) -> None:
    first, second = (joined(one, most) for one in history)
    assert shown(first) == shown(second)
    assert len(first.generations()) <= most
    assert bool(first.active) == bool(history[0])


@settings(max_examples=200, deadline=None)
@given(st.lists(publications | activations, max_size=24), st.integers(1, 5))
def test_a_snapshot_holds_all_of_it(mutations: list[bytes], most: int) -> None:
    catalogue = joined(mutations, most)
    assert shown(joined(catalogue.mutations(), most)) == shown(catalogue)


@settings(max_examples=200, deadline=None)
@given(st.lists(publications, max_size=24))
def test_numbers_are_distinct_and_never_below_their_labels(mutations: list[bytes]) -> None:
    generations = joined(mutations, 6).generations()
    numbers = [one.number for one in generations]
    assert numbers == sorted(set(numbers))
    assert all(one.number >= one.publication.number for one in generations)


def test_a_publication_activates_and_an_earlier_one_published_again_keeps_its_number() -> None:
    catalogue = joined([published(HASHES[0], 1, 1), published(HASHES[1], 2, 2)], 6)
    assert catalogue.active == HASHES[1]
    assert catalogue.apply(published(HASHES[0], 3, 1, at_us=1))
    assert catalogue.active == HASHES[0]
    assert [(one.number, one.hash) for one in catalogue.generations()] == [
        (1, HASHES[0]),
        (2, HASHES[1]),
    ]
    assert catalogue.next_number() == 3


def test_playbooks_published_at_once_get_numbers_of_their_own() -> None:
    catalogue = joined(
        [published(HASHES[3], 7, 2, 7), published(HASHES[0], 1), published(HASHES[5], 8, 2, 8)], 6
    )
    assert [one.number for one in catalogue.generations()] == [1, 2, 3]
    assert catalogue.find(3).hash == HASHES[5]
    with pytest.raises(UnknownGenerationError, match="1, 2, 3"):
        catalogue.find(4)


def test_the_active_one_is_never_forgotten() -> None:
    catalogue = joined([published(HASHES[n], n + 1, n + 1) for n in range(3)], 3)
    catalogue.apply(published(HASHES[0], 10, 1, 1))
    catalogue.apply(published(HASHES[4], 9, 4))
    assert catalogue.active == HASHES[0]
    assert [one.number for one in catalogue.generations()] == [1, 3, 4]


def test_a_repeat_and_what_is_too_old_change_nothing() -> None:
    catalogue = joined([published(HASHES[n], n + 5) for n in range(3)], 3)
    assert not catalogue.apply(published(HASHES[0], 5))
    assert not catalogue.apply(published(HASHES[4], 1))


def test_while_the_files_of_the_active_one_are_missing_none_is_named() -> None:
    catalogue = joined([published(HASHES[0], 1), activated(HASHES[1], 2)], 3)
    assert catalogue.active == b""
    catalogue.apply(published(HASHES[1], 1))
    assert catalogue.active == HASHES[1]


@pytest.mark.parametrize(
    "mutation", [b"\xff", b"", published(b"short", 1), activated(b"", 1)], ids=repr
)
def test_what_is_no_publication_is_refused(mutation: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        Catalogue(3).apply(mutation)
