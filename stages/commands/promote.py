"""Release a model: the workspace's, a registered version, or a commit's or experiment's.

Nothing else puts a model into service. Before anything moves, three checks can refuse it, each
in one line: `gate` (not better than the dummy baseline), `contract` (running callers would trip
over it) and `champion` (worse than the model in service, or not comparable with it). An
override needs a reason, and the history keeps both. The exit status is 3 if a check refuses
the model, and 0 if there is nothing to do.
"""

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from service.release import MODEL_FILE, Release, is_served
from stages import files as _files
from stages.entry import log, run
from stages.errors import RefusedError, UserError
from stages.params import load_params
from stages.releases import aliases, candidates
from stages.releases import decision as _decision
from stages.releases import folder as _releases
from stages.releases.candidates import Candidate
from stages.releases.changing import changing
from stages.releases.decision import CHECKS, Decision
from stages.runs import git, tracking


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, metavar="N", help="release version N of the model registry")
    which.add_argument("--rev", metavar="REV", help="release the model of a commit, or of a DVC experiment by its name")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; the history keeps it")
    for check in CHECKS:
        parser.add_argument(
            f"--override-{check}",
            dest="overrides",
            action="append_const",
            const=check,
            default=[],
            help=f"release the model although the check `{check}` refuses it; needs --reason",
        )

    parser.add_argument(
        "--unless-served",
        action="store_true",
        help="do nothing while a service runs on these releases, as `make serve`",
    )


def main(*, version: int | None, rev: str | None, reason: str, overrides: list[str], unless_served: bool) -> None:
    """Find the model, run the checks, release it."""
    if overrides and not reason.strip():
        raise UserError("an override needs a reason: --reason TEXT, or REASON='…' with make")
    params = load_params()
    releases = _releases.folder()
    if unless_served and is_served(releases):
        log("a service of this checkout is up, so nothing is released; `make promote` releases the workspace's model")
        return
    with changing(releases, params.registered_name), tempfile.TemporaryDirectory() as folder:
        candidate = _find(params.registered_name, version, rev, Path(folder))
        before = _releases.current(releases)
        decision = _decision.decide(candidate, releases, params)
        try:
            line = _promote(candidate, releases, decision, overrides, reason)
        except RefusedError as error:
            _tell(candidate, "refused", str(error))
            raise
        log(line)
        _tell(candidate, "released" if _releases.current(releases) != before else "not released", line)
        if _releases.current(releases) != before:
            aliases.follow(releases)


def _tell(candidate: Candidate, outcome: str, line: str) -> None:
    """Keep the outcome for `make repro`, and on the version in the registry."""
    _files.write_text(_files.DECISION, line + "\n")
    aliases.mark(candidate.facts.name, candidate.facts.onnx_md5, {"promotion": outcome, "promotion.reason": line})


def _find(name: str, version: int | None, rev: str | None, folder: Path) -> Candidate:
    if version is None:
        return candidates.from_commit(rev, folder) if rev is not None else candidates.from_workspace(folder)
    registry = aliases.open_registry(name)
    if registry is None:
        raise UserError(f"there is no model registry at {tracking.store()}, so no version {version}; name a commit")
    with tracking.told():
        return candidates.from_version(registry.version(version), registry, folder)


def _promote(candidate: Candidate, releases: Path, decision: Decision, overrides: list[str], reason: str) -> str:
    """Release the candidate unless a check refuses it; return what happened as one line."""
    served = _releases.current(releases)
    if served and _is_same(candidate, served[1]):
        return f"release {served[0]} of {served[1].name} is in service already and is this model"
    refused = decision.open_refusals(overrides)
    if refused:
        now = f"release {served[0]} stays in service" if served else "nothing is in service"
        names = " ".join(check for check in decision.refusals if check not in overrides)
        remedy = f"`make promote OVERRIDE='{names}' REASON='…'` releases it all the same"
        raise RefusedError(f"refused: {'; '.join(refused)}; {now} ({remedy})")
    if decision.tie and "champion" not in overrides:
        return f"nothing released: {decision.tie}"
    used = [check for check in CHECKS if check in decision.refusals or (check == "champion" and decision.tie)]
    release = Release(
        **candidate.facts.model_dump(exclude={"test_md5"}),
        verdict="overridden" if used else "accepted",
        reason="; ".join(filter(None, [reason.strip(), *decision.refusals.values(), decision.tie or decision.reason])),
        overrides=tuple(used),
        best=None if "champion" in decision.refusals else decision.best,
        by=git.user(),
        at=datetime.now(UTC),
        registry=candidate.registry or aliases.find_version(candidate.facts.name, candidate.facts.onnx_md5),
    )
    files: dict[str, Path | bytes] = {MODEL_FILE: candidate.onnx}
    if candidate.schema:
        files[_releases.SCHEMA_FILE] = candidate.schema
    name = _releases.write(releases, release, files)
    return f"release {name} of {release.name} is in service: {release.reason}"


def _is_same(candidate: Candidate, served: Release) -> bool:
    facts = candidate.facts
    return (facts.name, facts.onnx_md5, facts.metrics, facts.params) == (
        served.name,
        served.onnx_md5,
        served.metrics,
        served.params,
    )


if __name__ == "__main__":
    run(main, add_arguments)
