"""Find differences between contracts that would break callers of the released model."""

from service.contract import Contract, Feature


def differences(released: Contract, candidate: Contract) -> list[str]:
    """Return why the candidate would refuse requests that the released model answers, one text each.

    A new feature that may be missing and new categories break no caller.
    """
    if candidate.target != released.target:
        return [f"it predicts {candidate.target!r} instead of {released.target!r}"]
    if candidate.task != released.task:
        return [f"its task is {candidate.task} instead of {released.task}"]
    found = []
    gone = [label for label in released.classes if label not in candidate.classes]
    if gone:
        found.append(f"classes gone: {', '.join(map(repr, gone))}")
    before = {feature.name: feature for feature in released.features}
    after = {feature.name: feature for feature in candidate.features}
    found += [f"feature gone: {name!r}" for name in before if name not in after]
    for name, feature in after.items():
        found += _differences(before.get(name), feature)
    return found


def _differences(released: Feature | None, candidate: Feature) -> list[str]:
    name = repr(candidate.name)
    if released is None:
        return [] if candidate.nullable else [f"new required feature: {name}"]
    if released.type != candidate.type:
        return [f"type of {name}: {candidate.type} instead of {released.type}"]
    found = []
    if released.nullable and not candidate.nullable:
        found.append(f"{name} may no longer be missing")
    if candidate.strict and not released.strict:
        found.append(f"{name} refuses values that are not in training")
    return found
