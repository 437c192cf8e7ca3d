"""The dashboard of what is predicted, by which version, how well."""

from typing import Final

from monitoring.board import API, RATE, VERSION, Board
from monitoring.panels import Panel
from monitoring.timing import LIMITS

MODEL: Final = Board(
    "model",
    "Model",
    "What the model in service predicts, and whether it is still as good as when it was accepted.",
    ("instance", "version"),
    (
        Panel(
            "In service",
            "Which version each instance serves; more than one is only right during a deployment.",
            {"serves": f"model_info{{{API}}}"},
            "table",
            width=14,
            height=6,
        ),
        Panel(
            "Age",
            f"Since the model was first registered, or else released; {LIMITS.model_age_days} days are allowed.",
            {"{{version}}": f"time() - min by (version) (model_timestamp_seconds{{{VERSION}}})"},
            "stat",
            "s",
            warn=LIMITS.model_age_days * 64_800,
            limit=LIMITS.model_age_days * 86_400,
            width=5,
            height=6,
        ),
        Panel(
            "Files refused",
            "1 while the files that were deployed are refused and the model before serves on.",
            {"{{instance}}": f"max by (instance) (model_files_refused{{{API}}})"},
            "stat",
            limit=1,
            width=5,
            height=6,
        ),
        Panel(
            "Predictions by class",
            "Rows predicted in a second.",
            {"{{label}}": f"sum by (label) (rate(predictions_total{{{VERSION}}}{RATE}))"},
            unit="ops",
        ),
        Panel(
            "Predictions by version",
            "Rows predicted in a second by each version: how a deployment takes over.",
            {"{{version}}": f"sum by (version) (rate(predictions_total{{{VERSION}}}{RATE}))"},
            unit="ops",
        ),
        Panel(
            "Score, live against test rows",
            "Share of rows in each bin of the score in the last hour, beside those of the test and the training "
            "rows; a binary model's score is the positive class's probability.",
            {
                "live": f"sum by (bin) (score:share:1h{{{VERSION}}})",
                "{{rows}} rows": f"max by (rows, bin) (score_reference_share{{{VERSION}}})",
            },
            "bars",
            "percentunit",
        ),
        Panel(
            "Drift of the score",
            f"Population stability index against the test or the training rows, whichever are nearer; above "
            f"{LIMITS.psi} is a major shift.",
            {"last hour": f"score:psi:1h{{{VERSION}}}", "last day": f"score:psi:24h{{{VERSION}}}"},
            warn=LIMITS.psi / 2,
            limit=LIMITS.psi,
            no_value="too few rows for a verdict",
        ),
        Panel(
            "Accuracy, live against accepted",
            "Share of right predictions of those whose truth came back within a day, beside "
            "what evaluation measured; for regression the mean absolute errors.",
            {
                "live {{version}}": f"version:feedback_accuracy:24h{{{VERSION}}} or "
                f"version:feedback_absolute_error:24h{{{VERSION}}}",
                "accepted {{metric}}": f"max by (metric) "
                f'(model_accepted_metric{{{VERSION},metric=~"accuracy|mean_absolute_error"}})',
            },
        ),
        Panel(
            "Calibration",
            "Of the predictions whose truth came back since the service began, by the upper bound of the positive "
            "class's probability: how many came true, which should be about that probability; and how they are spread.",
            {
                "came true": f"sum by (bin) (feedback_score_positives_total{{{VERSION}}})"
                f" / (sum by (bin) (feedback_score_rows_total{{{VERSION}}}) > 0)",
                "share of rows": f"sum by (bin) (feedback_score_rows_total{{{VERSION}}})"
                f" / on () group_left () clamp_min(sum(feedback_score_rows_total{{{VERSION}}}), 1)",
            },
            "bars",
            "percentunit",
        ),
        Panel(
            "Deployments",
            "New files taken into service or refused in the last hour.",
            {"{{outcome}}": f"sum by (outcome) (increase(model_reloads_total{{{API}}}[1h]))"},
        ),
    ),
)
