"""The dashboard Data: the rows that callers send, compared with the training rows."""

from typing import Final

from monitoring.board import FEATURE, RATE, VERSION, Board
from monitoring.panels import Panel
from monitoring.timing import LIMITS

DATA: Final = Board(
    "data",
    "Data",
    "How much the rows that callers send differ from the training rows.",
    ("version", "feature"),
    (
        Panel(
            "Drift, ranked",
            f"Population stability index of each feature, highest first, in the last hour, or in the last day if the "
            f"hour has too few rows. Below {LIMITS.psi / 2:g} there is no drift, above {LIMITS.psi} a major shift.",
            {
                "{{feature}}": f"sort_desc(max by (feature) (feature:psi:1h{{{FEATURE}}} or "
                f"feature:psi:24h{{{FEATURE}}}))"
            },
            "ranking",
            warn=LIMITS.psi / 2,
            limit=LIMITS.psi,
            height=10,
            no_value="too few rows",
        ),
        Panel(
            "Drift over time",
            "Population stability index in the last hour. A sudden step often means a broken source, a slow rise"
            " changing data.",
            {"{{feature}}": f"max by (feature) (feature:psi:1h{{{FEATURE}}})"},
            warn=LIMITS.psi / 2,
            limit=LIMITS.psi,
            height=10,
            no_value="too few rows",
        ),
        Panel(
            "Live against training",
            "Share of rows in each bin, live in the last hour and in training. Choose one feature above. The name of a "
            "number's bin is its upper edge.",
            {
                "live": f"sum by (feature, bin) (feature:share:1h{{{FEATURE}}})",
                "training": f"max by (feature, bin) (feature_reference_share{{{FEATURE}}})",
            },
            "bars",
            "percentunit",
            width=24,
            height=10,
        ),
        Panel(
            "Missing",
            "Share of rows without a value in the last hour, by feature.",
            {"{{feature}}": f'sum by (feature) (feature:share:1h{{{FEATURE},bin="missing"}})'},
            unit="percentunit",
        ),
        Panel(
            "Missing beyond training",
            f"Share of rows without a value, minus the share in training. An alert fires above"
            f" {LIMITS.missing_share:.0%}.",
            {
                "{{feature}}": f'max by (feature) (feature:share:1h{{{FEATURE},bin="missing"}} - on (job, '
                f"version, feature, bin) "
                f'feature:reference_share{{{FEATURE},bin="missing"}})'
            },
            unit="percentunit",
            limit=LIMITS.missing_share,
        ),
        Panel(
            "Unseen and out of range",
            f"Share of rows with an unknown category or a number out of training's range, minus the share that is"
            f" expected of new rows. An alert fires above {LIMITS.unseen_share:.0%} in an hour.",
            {
                "{{feature}}": f"sum by (feature) "
                f"(rate(prediction_warnings_total{{{FEATURE}}}{RATE})) / on (feature) "
                f"(sum by (feature) (rate(feature_rows_total{{{FEATURE}}}{RATE})) > 0) - on (feature) "
                f"max by (feature) (prediction_warnings_reference_share{{{FEATURE}}})"
            },
            unit="percentunit",
            limit=LIMITS.unseen_share,
        ),
        Panel(
            "Refused values",
            "Invalid values per second, by feature and kind. Their requests got 422.",
            {"{{feature}} {{kind}}": f"sum by (feature, kind) (rate(prediction_errors_total{{{VERSION}}}{RATE}))"},
            unit="ops",
        ),
    ),
)
