"""Decide whether a model may go into service, before anything changes.

Three checks, each of which can be overridden by name: `gate` (the dummy baseline), `contract`
(what would break running callers) and `champion` (the model in service under the same name, and
the best one ever released under it).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import service.model
from service.release import MODEL_FILE, Release, read_history
from stages.entry import log
from stages.errors import NotComparableError
from stages.params.params import Params
from stages.releases import contracts, folder
from stages.releases.candidates import Candidate, parse_split
from stages.releases.champion import Earlier, compare
from stages.scores.gate import check, main_metric

CHECKS = ("gate", "contract", "champion")


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of the checks."""

    refusals: dict[str, str]
    """Reasons against the model, by the name of the check."""
    tie: str = ""
    """Why the model is as good as the one in service; empty if it differs."""
    reason: str = ""
    """Why it may be released."""
    best: str | None = None
    """Folder of the best release under this name; None if the candidate is the best."""


def decide(candidate: Candidate, releases: Path, params: Params) -> Decision:
    """Run all checks on a candidate.

    `params` are the workspace's: its `register.min_gain` and `register.tolerance` count, not the candidate's.
    """
    history = read_history(releases)
    served = list(history)[-1] if history else None
    refusals = {}
    bounds = params.registration.min_gain, params.registration.max_difference
    gate = check(candidate.record.metrics, candidate.model.contract.task, *bounds)
    if gate.refusal:
        refusals["gate"] = gate.refusal
    in_service = _load(releases, history, served) if served else None
    if in_service:
        found = contracts.differences(in_service.model.contract, candidate.model.contract)
        if found:
            refusals["contract"] = f"callers of release {served} would break: {'; '.join(found)}"
    return _against_champions(candidate, list(_champions(releases, history, candidate.record.name)), params, refusals)


def _load(releases: Path, history: dict[str, Release], name: str) -> Earlier | None:
    """Load a release's model and split; None if its file is missing or damaged."""
    path = folder.find_model(releases, history, history[name].onnx_md5)
    try:
        model = service.model.load(path or releases / name / MODEL_FILE)
    except service.model.ArtifactError as error:
        log(f"release {name} is left out of the comparison: {error}")
        return None
    if model.version != history[name].onnx_md5:
        log(f"release {name} is left out of the comparison: {path} is not the file that was released")
        return None
    schema = releases / name / folder.SCHEMA_FILE
    return Earlier(name, model, parse_split(schema.read_bytes() if schema.exists() else None))


def _champions(releases: Path, history: dict[str, Release], name: str) -> Iterator[Earlier]:
    """Yield the newest release under a name, then the best one if it has another model."""
    named = [each for each, release in history.items() if release.name == name]
    if not named:
        return
    newest = named[-1]
    best = history[newest].best or newest
    for each in [newest] if history[best].onnx_md5 == history[newest].onnx_md5 else [newest, best]:
        earlier = _load(releases, history, each)
        if earlier:
            yield earlier


def _against_champions(
    candidate: Candidate, champions: list[Earlier], params: Params, refusals: dict[str, str]
) -> Decision:
    """Compare with the champion and with the best release, so that small losses do not add up over releases."""
    if not champions:
        return Decision(refusals, reason=f"the first release of {candidate.record.name}; it beats the baseline")
    if champions[0].model.version == candidate.record.onnx_md5:
        best = champions[-1].folder if len(champions) > 1 else None
        return Decision(refusals, reason="the same model with other metrics or parameters", best=best)
    metric, tolerance = main_metric(candidate.model.contract.task), params.registration.tolerance
    comparisons = {}
    try:
        rows = candidate.read_test_rows()
        for champion in champions:
            comparisons[champion.folder] = compare(
                candidate.model, candidate.split, champion, rows, params.random_state
            )
    except NotComparableError as error:
        return Decision(refusals | {"champion": f"release {champion.folder} cannot be compared: {error}"})
    lines = [f"{metric} {each.describe(name)}" for name, each in comparisons.items()]
    worse = [line for line, each in zip(lines, comparisons.values(), strict=True) if -each.difference > tolerance]
    if worse:
        refusals |= {"champion": f"worse by more than {tolerance}: {'; '.join(worse)}"}
    first, last = comparisons[champions[0].folder], comparisons[champions[-1].folder]
    return Decision(
        refusals,
        tie="" if first.difference or worse else f"no better and no worse than the model in service: {lines[0]}",
        reason="" if lines[0] in worse else lines[0],
        best=None if last.difference > 0 else champions[-1].folder,
    )
