"""The metric that models are compared by; apart from `_metrics`, because scikit-learn takes a second to import."""

DIGITS = 10
"""Figures are given to this many significant digits and decimals: a sum's last bits are the machine's own."""


def main_metric(task: str) -> str:
    """Return the metric that the gate compares: r2 for regression, else roc_auc."""
    return "r2" if task == "regression" else "roc_auc"
