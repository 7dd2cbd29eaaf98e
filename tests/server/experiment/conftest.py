"""Subjects that are made up, and the command line."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike
from typer.testing import CliRunner, Result

from nextbest.server.command.main import make_app
from nextbest.server.experiment.subjects import Covariate, Kind, Metric, Subjects


@pytest.fixture(scope="session")
def invoke() -> Callable[..., Result]:
    """`nextbest experiment report ARGUMENTS`."""
    app = make_app(["experiment"])

    def run(*arguments: Any) -> Result:
        return CliRunner().invoke(app, ["experiment", "report", *map(str, arguments)])

    return run


@pytest.fixture(scope="session")
def subjects() -> Callable[..., Subjects]:
    """Subjects of arms given as arrays, the control first."""

    def make(
        *arms: ArrayLike, kind: Kind = Kind.CONVERSION, covariate: ArrayLike | None = None
    ) -> Subjects:
        values = [np.asarray(arm, float) for arm in arms]
        names = tuple(["control", "treated", "second", "third"][: len(arms)])
        codes = np.repeat(np.arange(len(arms), dtype=np.int32), [len(one) for one in values])
        metric = Metric("metric", kind, np.concatenate(values))
        known = () if covariate is None else (Covariate("before", np.asarray(covariate, float)),)
        return Subjects(names, codes, (metric,), known)

    return make
