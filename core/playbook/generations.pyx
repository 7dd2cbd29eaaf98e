"""Generations: the published playbooks, by number and by content."""

from typing import NamedTuple


class GenerationInfo(NamedTuple):
    """One published playbook that can be activated."""

    number: int
    hash: bytes
    published_at_us: int
    description: str
    active: bool


@cython.final
cdef class Generations:
    """At most `most` playbooks that can be activated, the oldest first."""

    cdef dict by_number
    cdef dict by_hash
    cdef int most
    # The highest number given so far.
    cdef uint64_t newest

    def __cinit__(self, int most):
        self.by_number = {}
        self.by_hash = {}
        self.most = most

    cdef int require_new(self, number) except -1:
        if number in self.by_number:
            raise errors.InvalidRequestError("number", str(number), "one that is free")
        return 0

    cdef int add(self, Playbook playbook, number) except -1:
        """Number a playbook; 0 asks for the next number."""
        number = number or self.newest + 1
        playbook.state.generation = number
        self.by_hash[playbook.plan.hash] = playbook
        return self.sort({**self.by_number, number: playbook})

    cdef int renumber(self, numbers) except -1:
        """Give the generations other numbers: the new one by the old one."""
        cdef Playbook playbook
        if sorted(numbers) != sorted(self.by_number) or len(set(numbers.values())) < len(numbers):
            raise errors.InvalidRequestError("numbers", str(numbers), "a new one for each, once")
        for before, playbook in self.by_number.items():
            playbook.state.generation = numbers[before]
        return self.sort({numbers[n]: playbook for n, playbook in self.by_number.items()})

    cdef int sort(self, by_number) except -1:
        self.by_number = dict(sorted(by_number.items()))
        self.newest = max(self.by_number)
        return 0

    cdef int forget(self, Playbook active) except -1:
        """Let go of the oldest ones that are too many; never of the active one."""
        while len(self.by_number) > max(self.most, 1):
            number = next(n for n, p in self.by_number.items() if p is not active)
            gone = self.by_number.pop(number)
            if self.by_hash.get(gone.plan.hash) is gone:
                del self.by_hash[gone.plan.hash]
        return 0

    cdef Playbook find(self, number):
        playbook = self.by_number.get(number)
        if playbook is None:
            known = ", ".join(map(str, self.by_number)) or "none"
            raise errors.UnknownGenerationError("target", str(number), known)
        return playbook

    cdef list infos(self, Playbook active):
        return [
            GenerationInfo(n, p.plan.hash, p.published_at_us, p.description, p is active)
            for n, p in self.by_number.items()
        ]
