"""The dashboard of what callers send, beside what training had."""

from typing import Final

from monitoring.board import FEATURE, RATE, VERSION, Board
from monitoring.panels import Panel
from monitoring.timing import LIMITS

DATA: Final = Board(
    "data",
    "Data",
    "How far the rows that callers send are from those of training.",
    ("version", "feature"),
    (
        Panel(
            "Drift, ranked",
            f"Population stability index of each feature, worst first, of the last hour, or of the last day "
            f"where the hour has too few rows: below 0.1 none, above {LIMITS.psi} major.",
            {
                "{{feature}}": f"sort_desc(max by (feature) (feature:psi:1h{{{FEATURE}}} or "
                f"feature:psi:24h{{{FEATURE}}}))"
            },
            "ranking",
            warn=LIMITS.psi / 2,
            limit=LIMITS.psi,
            height=10,
            no_value="too few rows for a verdict",
        ),
        Panel(
            "Drift over time",
            "Population stability index of the last hour: a step is a broken source, a slope a changing world.",
            {"{{feature}}": f"max by (feature) (feature:psi:1h{{{FEATURE}}})"},
            warn=LIMITS.psi / 2,
            limit=LIMITS.psi,
            height=10,
            no_value="too few rows for a verdict",
        ),
        Panel(
            "Live against training",
            "Share of rows in each bin in the last hour, beside training's. Choose one feature above; a "
            "number's bin is named by its upper edge.",
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
            "Share of rows of the last hour without a value, by feature.",
            {"{{feature}}": f'sum by (feature) (feature:share:1h{{{FEATURE},bin="missing"}})'},
            unit="percentunit",
        ),
        Panel(
            "Missing beyond training",
            f"The same above training's share; {LIMITS.missing_share:.0%} raise an alert.",
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
            f"Share of rows with a category that training did not know, or a number beyond its range, above the "
            f"share that new rows like those of training have; {LIMITS.unseen_share:.0%} in an hour raise an alert.",
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
            "Values in a second that the contract does not allow, by feature and kind; their requests got 422.",
            {"{{feature}} {{kind}}": f"sum by (feature, kind) (rate(prediction_errors_total{{{VERSION}}}{RATE}))"},
            unit="ops",
        ),
    ),
)
