"""The reward model: what each action would have earned in each row, by other rows' rewards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from nextbest.server.offpolicy.errors import FeedbackError, MissingLibraryError
from nextbest.server.offpolicy.feedback import Feedback, Floats, Integers

MODELS: Final = ("linear", "boosting")
# Columns of the table that a model sees, before actions and slots become columns of their own.
_ACTION, _SLOT, _CONTEXT = 0, 1, 2


def predict(feedback: Feedback, model: str, folds: int, seed: int) -> Floats:
    """(rows x actions) the reward of each action, by a model that never saw the row's own.

    Cross-fitting keeps DR's correction honest: a model that has seen a row's reward would explain
    its noise, too.  model: "linear" is a logistic regression where all rewards are 0 or 1, and
    else a ridge regression; "boosting" is gradient-boosted trees, which can tell people's tastes
    apart.  Rows of a cluster are in one fold.
    """
    if model not in MODELS:
        raise FeedbackError("model", repr(model), ", ".join(MODELS))
    limits, splits = _library(), _folds(feedback, folds, seed)
    table = np.column_stack([feedback.action, feedback.slot, feedback.context]).astype(float)
    predicted = np.empty((feedback.rows, len(feedback.actions)))
    # Matrices are narrow: a second thread gains nothing, and on busy cores the two wait for each
    # other (13 s instead of 1.6 s over 10,000 rows).
    with limits(1):
        for seen, unseen in splits:
            fitted = _fit(feedback, table[seen], feedback.reward[seen], model, seed)
            _fill(predicted, fitted, table, unseen)
    return predicted


def _fit(feedback: Feedback, table: Floats, reward: Floats, model: str, seed: int) -> Any:
    """A function of a table that tells each row's expected reward."""
    if np.ptp(reward) == 0:
        return lambda there: np.full(len(there), reward[0])
    chance = bool(np.isin(feedback.reward, (0.0, 1.0)).all())
    fitted = _make(feedback, model, chance, seed).fit(table, reward)
    return (lambda there: fitted.predict_proba(there)[:, 1]) if chance else fitted.predict


def _fill(predicted: Floats, fitted: Any, table: Floats, rows: Integers) -> None:
    """Predict those rows with each of the actions in turn."""
    there = table[rows]
    for action in range(predicted.shape[1]):
        there[:, _ACTION] = action
        predicted[rows, action] = fitted(there)


def _library() -> Any:
    """What limits the threads of linear algebra; MissingLibraryError without scikit-learn."""
    try:
        import sklearn  # noqa: F401
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise MissingLibraryError("scikit-learn", "analysis") from None
    return threadpool_limits


def _folds(feedback: Feedback, folds: int, seed: int) -> Iterator[tuple[Integers, Integers]]:
    """The rows to learn from and the rows to predict, `folds` times."""
    from sklearn.model_selection import GroupKFold, KFold

    cluster = feedback.cluster
    size = feedback.rows if cluster is None else len(np.unique(cluster))
    if not 2 <= folds <= size:
        raise FeedbackError("folds", folds, f"2 to {size}, the number of rows or clusters")
    made = KFold if cluster is None else GroupKFold
    splitter = made(folds, shuffle=True, random_state=seed)
    found: Iterator[tuple[Integers, Integers]] = splitter.split(feedback.action, groups=cluster)
    return found


def _make(feedback: Feedback, model: str, chance: bool, seed: int) -> Any:
    """A model that is not fitted yet: actions and slots as columns of 0 and 1, then its kind."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    names = [range(len(feedback.actions)), range(len(feedback.slots))]
    parts: list[Any] = [
        (OneHotEncoder(categories=names, sparse_output=False), [_ACTION, _SLOT]),
    ]
    if feedback.context.shape[1]:
        parts.append((StandardScaler(), slice(_CONTEXT, None)))
    columns = make_column_transformer(*parts)
    return make_pipeline(columns, _kind(model, chance, seed))


def _kind(model: str, chance: bool, seed: int) -> Any:
    from sklearn import ensemble, linear_model

    if model == "linear":
        # The default solver stops too early where rewards are rare: it had 0.91 % for 1.05 %.
        logistic = linear_model.LogisticRegression
        return logistic(solver="newton-cholesky") if chance else linear_model.Ridge()
    if chance:
        return ensemble.HistGradientBoostingClassifier(random_state=seed)
    return ensemble.HistGradientBoostingRegressor(random_state=seed)
