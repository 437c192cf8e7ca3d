"""The dashboard Training: the releases and their metrics."""

from typing import Final

from monitoring.board import VERSION, Board
from monitoring.panels import Panel
from monitoring.rules import JOB

_WITHOUT_DETAILS: Final = 'metric!~".*_(low|high|std)|baseline_.*|threshold|cv_folds|interval_units"'
"""The metrics without their intervals, spreads, counts and baselines."""
_RELEASED: Final = f'release_metric{{job="{JOB}"'
TRAINING: Final = Board(
    "training",
    "Training",
    "The metrics of each release on its test rows, and the release in service.",
    ("version",),
    (
        Panel(
            "Metrics of releases",
            "What evaluation measured for each of the newest releases.",
            {"value": f"max by (release, version, metric) ({_RELEASED},{_WITHOUT_DETAILS}}})"},
            "table",
            width=24,
            height=10,
        ),
        Panel(
            "Main metrics by release",
            "ROC AUC, accuracy and R² of each release.",
            {"{{metric}} {{release}}": f'max by (release, metric) ({_RELEASED},metric=~"roc_auc|accuracy|r2"}})'},
            "ranking",
            height=10,
        ),
        Panel(
            "Metrics in service",
            "What evaluation measured for the version in service.",
            {"{{metric}}": f"max by (metric) (model_accepted_metric{{{VERSION},{_WITHOUT_DETAILS}}})"},
            "stat",
            height=10,
        ),
        Panel(
            "Released",
            "When each release was made, its verdict, its version in the registry and its Git commit.",
            {
                "released": f'1000 * max by (release) (release_timestamp_seconds{{job="{JOB}"}}) * on (release) '
                f"group_right max by (release, name, verdict, number, revision) "
                f'(release_info{{job="{JOB}"}})'
            },
            "table",
            "dateTimeAsIso",
            height=8,
        ),
        Panel(
            "In service",
            "The release that each instance serves, and the MD5 of its model.",
            {"serves": f'release_current{{job="{JOB}"}} == 1'},
            "table",
            height=8,
        ),
    ),
)
