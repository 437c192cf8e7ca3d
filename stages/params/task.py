"""Settings that must fit the target, which only the table shows if `data.task` is auto."""

from service.contract import Contract
from stages.errors import UserError
from stages.params.costs import cost_matrix, errors_beyond
from stages.params.params import Params


def check_task(params: Params, contract: Contract) -> None:
    """Raise UserError if `calibration` or `evaluate.costs` doesn't fit the target."""
    if params.calibration and not contract.classes:
        raise UserError(f"params.yaml: calibration: {params.calibration!r} is not for regression; use null")
    if params.evaluate.costs:
        matrix = cost_matrix(params.evaluate.costs, contract)
        if contract.task == "binary":
            errors_beyond(matrix, contract.classes.index(contract.positive))
