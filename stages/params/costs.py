"""What decisions cost by `evaluate.costs`: a matrix over the target's classes."""

import numpy as np
import numpy.typing as npt

from service.contract import Contract, Label
from stages.errors import UserError
from stages.params.sections import Costs, Name

_OTHERS = "*"

Floats = npt.NDArray[np.float64]


def cost_matrix(costs: Costs, contract: Contract) -> Floats:
    """Return the cost of each true class (row) and predicted class (column), in the order of `contract.classes`.

    A right prediction costs 0 unless the matrix says otherwise.

    Raises UserError if the costs don't fit the target.
    """
    classes = contract.classes
    if not classes:
        raise _refuse("is for a target of classes, this one is a regression; use null")
    if costs.matrix is not None:
        return _by_name(costs.matrix, classes, contract.target)
    if contract.task != "binary":
        raise _refuse(
            f"false_positive and false_negative are for two classes, this target has {len(classes)}; use matrix"
        )
    positive = classes.index(contract.positive)
    matrix = np.zeros((2, 2))
    matrix[1 - positive, positive], matrix[positive, 1 - positive] = costs.false_positive, costs.false_negative
    return matrix


def errors_beyond(matrix: Floats, positive: int) -> tuple[float, float]:
    """Return what a false positive and a false negative cost more than the right prediction.

    Raises UserError if one of them does not cost more.
    """
    negative = 1 - positive
    false_positive = float(matrix[negative, positive] - matrix[negative, negative])
    false_negative = float(matrix[positive, negative] - matrix[positive, positive])
    if min(false_positive, false_negative) <= 0:
        raise _refuse("a wrong prediction must cost more than the right one, for each of the two classes")
    return false_positive, false_negative


def _by_name(matrix: dict[Name, dict[Name, float]], classes: tuple[Label, ...], target: str) -> Floats:
    names = [_text(label) for label in classes]
    rows = {_text(name): {_text(other): cost for other, cost in row.items()} for name, row in matrix.items()}
    unknown = sorted({*rows, *(name for row in rows.values() for name in row)} - {*names, _OTHERS})
    if unknown:
        raise _refuse(f"{unknown[0]!r} is no class of {target!r}; its classes are {', '.join(names)}", ".matrix")
    found = np.zeros((len(names), len(names)))
    for true, name in enumerate(names):
        row = rows.get(name, rows.get(_OTHERS, {}))
        for predicted, other in enumerate(names):
            cost = row.get(other, 0.0 if other == name else row.get(_OTHERS))
            if cost is None:
                raise _refuse(f"doesn't say what it costs to predict {other!r} for {name!r}; add it, or '*'", ".matrix")
            found[true, predicted] = cost
    if not np.ptp(found, axis=1).any():
        raise _refuse("all predictions cost the same; a wrong one must cost more than the right one", ".matrix")
    return found


def _text(label: Label) -> str:
    return label if isinstance(label, str) else str(label).lower()


def _refuse(reason: str, key: str = "") -> UserError:
    return UserError(f"params.yaml: evaluate.costs{key}: {reason}")
