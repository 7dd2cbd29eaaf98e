"""The native engine: one compiled unit of the subjects' files, so that calls can be inlined."""

from collections.abc import Sequence

include "expression/arena.pyx"
include "expression/value.pyx"
include "expression/machine.pyx"
include "expression/time.pyx"
include "expression/compare.pyx"
include "expression/convert.pyx"
include "expression/operate.pyx"
include "expression/vm.pyx"
include "expression/program.pyx"
