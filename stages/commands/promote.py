"""Release a model: the workspace's, a registered version, or a commit's or experiment's.

Only this command and `rollback` change what the service serves. Before anything changes, three checks can refuse it,
each in one line: `gate` (not better than the dummy baseline), `contract` (running callers would break) and `champion`
(worse than the model in service, or not comparable with it). An override needs a reason, and the history keeps both.
The exit status is 3 if a check refuses the model, and 0 if there is nothing to do.

Example: make promote REV=my-experiment REASON='fewer false alarms'
"""

import argparse
import tempfile
from pathlib import Path

from service.release import MODEL_FILE, SLICES_FILE, Release
from stages import files
from stages.entry import log, run
from stages.errors import RefusedError, UserError
from stages.params.loading import load_params
from stages.releases import aliases, candidates, folder
from stages.releases.candidates import Candidate
from stages.releases.decision import CHECKS, Decision, decide
from stages.releases.session import open_releases
from stages.runs import tracking


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, metavar="N", help="release version N of the model registry")
    which.add_argument("--rev", metavar="REV", help="release the model of a commit, or of a DVC experiment by its name")
    parser.add_argument("--reason", default="", metavar="TEXT", help="the reason, kept in the history")
    for check in CHECKS:
        parser.add_argument(
            f"--override-{check}",
            dest="overrides",
            action="append_const",
            const=check,
            default=[],
            help=f"release the model even if the check `{check}` refuses it; needs --reason",
        )
    parser.add_argument("--unless-served", action="store_true", help="do nothing while a service uses these releases")


def main(*, version: int | None, rev: str | None, reason: str, overrides: list[str], unless_served: bool) -> None:
    """Find the model, run the checks, release it."""
    if overrides and not reason.strip():
        raise UserError("an override needs a reason: --reason TEXT, or REASON='…' with make")
    params = load_params()
    releases = folder.folder()
    if unless_served and folder.is_served(releases):
        log("a service of this checkout is running, so nothing is released; `make promote` releases the model")
        return
    with open_releases(releases, params.registered_name), tempfile.TemporaryDirectory() as temporary:
        candidate = _find(params.registered_name, version, rev, Path(temporary))
        decision = decide(candidate, releases, params)
        try:
            released, line = _promote(candidate, releases, decision, overrides, reason)
        except RefusedError as error:
            _report(candidate, "refused", str(error))
            raise
        log(line)
        _report(candidate, "released" if released else "not released", line)
        if released:
            aliases.align(releases)


def _report(candidate: Candidate, outcome: str, line: str) -> None:
    """Write the outcome for `make repro`, and into tags of the version in the registry."""
    files.write_text(files.DECISION, line + "\n")
    aliases.set_tags(candidate.record.name, candidate.record.onnx_md5, {"promotion": outcome, "promotion.reason": line})


def _find(name: str, version: int | None, rev: str | None, temporary: Path) -> Candidate:
    if version is None:
        return candidates.from_workspace(temporary) if rev is None else candidates.from_commit(rev, temporary)
    registry = aliases.open_registry(name)
    if registry is None:
        raise UserError(f"there is no model registry at {tracking.store_uri()}, so no version {version}; use --rev")
    with tracking.errors_as_line():
        return candidates.from_version(registry.version(version), registry, temporary)


def _promote(
    candidate: Candidate, releases: Path, decision: Decision, overrides: list[str], reason: str
) -> tuple[bool, str]:
    """Release the candidate unless a check refuses it; return whether it was released, and a line for the log."""
    served = folder.current(releases)
    if served and _is_same(candidate, served[1]):
        return False, f"release {served[0]} of {served[1].name} is already in service with this model"
    refused = {check: reason for check, reason in decision.refusals.items() if check not in overrides}
    if refused:
        now = f"release {served[0]} stays in service" if served else "nothing is in service"
        remedy = f"`make promote OVERRIDE='{' '.join(refused)}' REASON='…'` releases it anyway"
        raise RefusedError(f"refused: {'; '.join(refused.values())}; {now} ({remedy})")
    if decision.tie and "champion" not in overrides:
        return False, f"nothing released: {decision.tie}"
    used = [check for check in CHECKS if check in decision.refusals or (check == "champion" and decision.tie)]
    release = folder.make_release(
        candidate.record,
        verdict="overridden" if used else "accepted",
        reason="; ".join(filter(None, [reason.strip(), *decision.refusals.values(), decision.tie or decision.reason])),
        overrides=tuple(used),
        best=None if "champion" in decision.refusals else decision.best,
        registry=candidate.registry or aliases.find_version(candidate.record.name, candidate.record.onnx_md5),
    )
    content = {MODEL_FILE: candidate.onnx, folder.SCHEMA_FILE: candidate.schema, SLICES_FILE: candidate.slices}
    name = folder.write(releases, release, content)
    return True, f"release {name} of {release.name} is in service: {release.reason}"


def _is_same(candidate: Candidate, served: Release) -> bool:
    return all(
        getattr(candidate.record, field) == getattr(served, field)
        for field in ("name", "onnx_md5", "metrics", "params")
    )


if __name__ == "__main__":
    run(main, add_arguments)
