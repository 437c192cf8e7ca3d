"""The dashboard of what the pipeline measured and registered."""

from typing import Final

from monitoring.board import VERSION, Board
from monitoring.panels import Panel
from monitoring.rules import JOB

_TOLD: Final = 'metric!~".*_(low|high)|baseline_.*|threshold"'
"""All but the ends of intervals and what they are held against."""
_REGISTERED: Final = f'registered_model_metric{{job="{JOB}"'
TRAINING: Final = Board(
    "training",
    "Training",
    "How good each registered version was on its test rows, as the pipeline wrote it down.",
    ("version",),
    (
        Panel(
            "Metrics of registered versions",
            "What evaluation measured for each version in the registry; where the service has no "
            "registry file, the version in service alone.",
            {
                "value": f"max by (version, number, metric) "
                f"({_REGISTERED},{_TOLD}}}) or on (version, metric) max by (version, metric) "
                f'(model_accepted_metric{{job="{JOB}",{_TOLD}}})'
            },
            "table",
            width=24,
            height=10,
        ),
        Panel(
            "Main metrics by version",
            "ROC AUC, accuracy and R², by the registry's number of the version.",
            {
                "{{metric}} {{number}}": f"max by (number, metric) "
                f'({_REGISTERED},metric=~"roc_auc|accuracy|r2"}}) or on (metric) max by (metric) '
                f'(model_accepted_metric{{job="{JOB}",metric=~"roc_auc|accuracy|r2"}})'
            },
            "ranking",
            height=10,
        ),
        Panel(
            "Accepted",
            "What was accepted of the version in service, each metric by its name.",
            {"{{metric}}": f"max by (metric) (model_accepted_metric{{{VERSION},{_TOLD}}})"},
            "stat",
            height=10,
        ),
        Panel(
            "Written",
            "When each version was registered; where there is no registry file, when the served file was written.",
            {
                "registered": f"1000 * (max by (version, number) "
                f'(registered_model_created_timestamp_seconds{{job="{JOB}"}}) or on (version) '
                f"max by (version) (model_timestamp_seconds{{{VERSION}}}))"
            },
            "table",
            "dateTimeAsIso",
            height=8,
        ),
        Panel(
            "In service",
            "Version, name and training data of what each instance serves.",
            {"serves": f'model_info{{job="{JOB}"}}'},
            "table",
            height=8,
        ),
    ),
)
