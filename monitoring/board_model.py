"""The dashboard Model: what the model in service predicts, and how well."""

from typing import Final

from monitoring.board import API, RATE, VERSION, Board
from monitoring.panels import Panel
from monitoring.timing import LIMITS

MODEL: Final = Board(
    "model",
    "Model",
    "What the model in service predicts, and whether it is as good as on the test rows.",
    ("instance", "version"),
    (
        Panel(
            "In service",
            "The version that each instance serves. There should be more than one only during a deployment.",
            {"serves": f"model_info{{{API}}}"},
            "table",
            width=14,
            height=6,
        ),
        Panel(
            "Age",
            f"Time since the model was first registered or released. An alert fires after {LIMITS.model_age_days}"
            " days.",
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
            "1 while an instance refuses the newest release and serves the previous one, else 0.",
            {"{{instance}}": f"max by (instance) (model_files_refused{{{API}}})"},
            "stat",
            limit=1,
            width=5,
            height=6,
        ),
        Panel(
            "Predictions by class",
            "Rows predicted per second, by class.",
            {"{{label}}": f"sum by (label) (rate(predictions_total{{{VERSION}}}{RATE}))"},
            unit="ops",
        ),
        Panel(
            "Predictions by version",
            "Rows predicted per second, by version. During a deployment the new version replaces the old one.",
            {"{{version}}": f"sum by (version) (rate(predictions_total{{{VERSION}}}{RATE}))"},
            unit="ops",
        ),
        Panel(
            "Score, live against test rows",
            "Share of rows in each bin of the score: live in the last hour, test rows, training rows. The score of a"
            " binary model is the probability of the positive class.",
            {
                "live": f"sum by (bin) (score:share:1h{{{VERSION}}})",
                "{{rows}} rows": f"max by (rows, bin) (score_reference_share{{{VERSION}}})",
            },
            "bars",
            "percentunit",
        ),
        Panel(
            "Drift of the score",
            f"Population stability index compared with the test rows or the training rows, whichever is lower. Above "
            f"{LIMITS.psi} is a major shift.",
            {"last hour": f"score:psi:1h{{{VERSION}}}", "last day": f"score:psi:24h{{{VERSION}}}"},
            warn=LIMITS.psi / 2,
            limit=LIMITS.psi,
            no_value="too few rows",
        ),
        Panel(
            "Accuracy, live and on test rows",
            "Share of right predictions among those with feedback in the last day, and the accuracy on the test rows. "
            "For regression, the mean absolute errors.",
            {
                "live {{version}}": f"version:feedback_accuracy:24h{{{VERSION}}} or "
                f"version:feedback_absolute_error:24h{{{VERSION}}}",
                "test rows {{metric}}": f"max by (metric) "
                f'(model_accepted_metric{{{VERSION},metric=~"accuracy|mean_absolute_error"}})',
            },
        ),
        Panel(
            "Coverage, live and promised",
            "Share of the predictions with feedback in the last day whose outcome was inside the prediction interval or"
            " set, and the promised share. The model card has the share on the test rows.",
            {
                "live {{version}}": f"version:feedback_coverage:24h{{{VERSION}}}",
                "promised": f"max(model_coverage_level{{{VERSION}}})",
            },
            unit="percentunit",
            no_value="no feedback",
        ),
        Panel(
            "Calibration",
            "Predictions with feedback since the service started, by the predicted probability of the positive class"
            " (upper edge of the bin): the share that was positive, which should be about that probability, and the"
            " share of rows.",
            {
                "positive": f"sum by (bin) (feedback_score_positives_total{{{VERSION}}})"
                f" / (sum by (bin) (feedback_score_rows_total{{{VERSION}}}) > 0)",
                "share of rows": f"sum by (bin) (feedback_score_rows_total{{{VERSION}}})"
                f" / on () group_left () clamp_min(sum(feedback_score_rows_total{{{VERSION}}}), 1)",
            },
            "bars",
            "percentunit",
        ),
        Panel(
            "Deployments",
            "Releases loaded or refused in the last hour.",
            {"{{outcome}}": f"sum by (outcome) (increase(model_reloads_total{{{API}}}[1h]))"},
        ),
    ),
)
