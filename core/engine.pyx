"""The native engine: one compiled unit of the subjects' files, so that calls can be inlined."""

include "expression/arena.pyx"
include "expression/value.pyx"
include "expression/machine.pyx"
include "expression/vm.pyx"
