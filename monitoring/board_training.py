"""The dashboard of what was released and what the pipeline measured of it."""

from typing import Final

from monitoring.board import VERSION, Board
from monitoring.panels import Panel
from monitoring.rules import JOB

_TOLD: Final = 'metric!~".*_(low|high|std)|baseline_.*|threshold|cv_folds|interval_units"'
"""The metrics without their intervals, spreads, counts and baselines."""
_RELEASED: Final = f'release_metric{{job="{JOB}"'
TRAINING: Final = Board(
    "training",
    "Training",
    "How good each release was on its test rows, and which one is in service.",
    ("version",),
    (
        Panel(
            "Metrics of releases",
            "What evaluation measured of each of the newest releases.",
            {"value": f"max by (release, version, metric) ({_RELEASED},{_TOLD}}})"},
            "table",
            width=24,
            height=10,
        ),
        Panel(
            "Main metrics by release",
            "ROC AUC, accuracy and R², by release.",
            {"{{metric}} {{release}}": f'max by (release, metric) ({_RELEASED},metric=~"roc_auc|accuracy|r2"}})'},
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
            "Released",
            "When each release was made, with its verdict, its number in the registry and its Git commit.",
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
