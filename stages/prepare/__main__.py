"""Split the table into training and test rows, and write the schema of its columns.

Example: dvc repro prepare
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pandas as pd

from service.cells import Reading
from service.contract import Contract
from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.params.loading import load_params
from stages.params.params import Params
from stages.params.task import check_task
from stages.prepare import target as _target
from stages.prepare import weights
from stages.prepare.columns import find_features
from stages.prepare.derived import add_inputs, check_names
from stages.prepare.example import build_example
from stages.prepare.parts import Pairs, Part, typed_batches
from stages.prepare.rare import Resolved, resolve
from stages.prepare.review import review
from stages.prepare.split import describe, split_rows
from stages.prepare.subset import Subset
from stages.prepare.survey import survey
from stages.prepare.weights import check_weights
from stages.schema import ClassRows, LeftOut, Rows, Schema
from stages.stored import StoredTable, Table, writing
from stages.table.typed import open_typed

_SHOWN_CLASSES = 10

Stored = TypeVar("Stored", bound=Table)


def prepare(
    table: pd.DataFrame, params: Params, reading: Reading | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, Schema]:
    """Split `table` into prepared training and test rows, and describe them, all in memory; see `split_table`."""
    return split_table(table, params, reading or Reading(), _join)


def _join(pairs: Pairs) -> tuple[pd.DataFrame, pd.DataFrame]:
    train, test = zip(*pairs, strict=True)
    return pd.concat(train, ignore_index=True), pd.concat(test, ignore_index=True)


def split_table(
    table: Table, params: Params, reading: Reading, store: Callable[[Pairs], tuple[Stored, Stored]]
) -> tuple[Stored, Stored, Schema]:
    """Split `table` into prepared training and test rows, and describe them; a column or a batch is in memory.

    `reading` are the rules that the table's cells were read by. `store` gets the training and test rows of each batch
    and returns those of all batches.

    `validate` has checked that the target has two values in enough rows, and that the split's column exists.
    Raises UserError where the target cannot be learnt or the rows cannot be split.
    """
    train, test, counts, schema = _split(table, params, reading, store)
    # The masks and hashes that `_split` needed for each row are no longer in memory.
    findings = review(counts, train, test, schema.contract, schema.split)
    return train, test, schema.model_copy(update={"findings": findings})


def _split(
    table: Table, params: Params, reading: Reading, store: Callable[[Pairs], tuple[Stored, Stored]]
) -> tuple[Stored, Stored, pd.Series | None, Schema]:
    """Do all that `split_table` does except the review; return the number of rows of each class too."""
    name = params.data.target
    known = Subset(table, table[name].notna().to_numpy())
    check_weights(known, params.data)
    classification = _target.is_classification(known[name], params.data.task)
    labels = _target.labels(known[name], params) if classification else known[name].astype("float64")
    counts = labels.value_counts() if classification else None
    labels = labels.astype("category") if classification else labels  # a byte a row
    # Ignored columns are here only for `features` and `evaluate.groups`; neither they nor a weight move a row.
    read = known.without(*params.data.ignore, params.data.weight)
    hashes, kinds, incomplete = survey(read.without(name))
    test_rows = split_rows(known, hashes, params.split)
    split = describe(read, kinds, test_rows, params.data, params.split)
    resolved = resolve(labels, test_rows, params.data) if classification else Resolved(labels, test_rows | True, None)
    is_train, is_test = ~test_rows & resolved.kept, test_rows & resolved.kept
    if not is_test.any():
        raise UserError(f"{params.data.path}: no test row is left, as all have rare classes; change split.test_size")
    train, test = known.only(is_train), known.only(is_test)
    hashes = hashes[is_test]  # a split by content needs those of all rows
    train_target, test_target = (pd.Series(resolved.target.array[mask], name=name) for mask in (is_train, is_test))
    contract, left_out = _decide(train, test, train_target, params, classification=classification)
    check_task(params, contract)
    contract = _complete(contract, incomplete, left_out, params, reading)
    # An earlier model may need a column that this one leaves out, or may be split by it.
    others = [column.name for column in left_out]
    kept = [column for column in others if column in (params.split.column, params.split.key, params.data.weight)]
    seen = {*others, *(feature.name for feature in contract.features)}
    groups = [column for column in _existing(params.evaluate.groups, table) if column not in seen]
    more = {name: test_target.array, str(split.hash_column): hashes}
    stored = store(
        typed_batches(
            contract,
            Part(train, kept, {name: train_target.array}),
            Part(test, [*others, *groups], more),
        )
    )
    schema = Schema(
        rows=Rows(
            read=len(table),
            without_target=len(table) - len(known),
            train=len(train),
            test=len(test),
            classes=tuple(
                ClassRows(label=label, train=int((train_target == label).sum()), test=int((test_target == label).sum()))
                for label in contract.classes
            ),
        ),
        split=split,
        rare_classes=resolved.about,
        contract=contract,
        left_out=left_out,
    )
    return *stored, counts, schema


def _existing(groups: list[str], table: Table) -> list[str]:
    """Return the columns of `evaluate.groups`. Raises UserError if the table lacks one."""
    for column in groups:
        if column not in table:
            raise UserError(f"params.yaml: evaluate.groups: no column {column!r} in the table; correct the name")
    return groups


def _decide(
    train: Subset, test: Subset, target: pd.Series, params: Params, *, classification: bool
) -> tuple[Contract, tuple[LeftOut, ...]]:
    split = params.split
    excluded = {split.key: "identifies the row (split.key)"} if split.key else {}
    if split.method == "group" and split.group_column:
        excluded[split.group_column] = "names the group of the split; test rows have other groups"
    if params.data.weight:
        excluded[params.data.weight] = weights.REASON
    later = test if split.method == "time" else None
    columns = train.without(params.data.target, *params.data.ignore)
    features, left_out = find_features(columns, excluded, None if classification else target, later)
    check_names(params, train.columns)
    features, inputs_only = add_inputs(features, train, excluded, params)
    left_out = [column for column in left_out if column.name not in {feature.name for feature in features}]
    if not features:
        reasons = "; ".join(f"{column.name}: {column.reason}" for column in left_out)
        raise UserError(
            f"{params.data.path}: no column is left as a feature: {reasons or 'the target is the only one'}"
        )
    classes = _target.classes(target, params) if classification else ()
    contract = Contract(
        task=_target.task(classes),
        target=params.data.target,
        classes=classes,
        positive=_target.positive(target, classes, params),
        features=tuple(features),
        example=build_example(train, features),
        derived=params.features,
        inputs_only=inputs_only,
        version=3 if params.features else 2,
    )
    return contract, tuple(left_out)


def _complete(
    contract: Contract, incomplete: frozenset[str], left_out: tuple[LeftOut, ...], params: Params, reading: Reading
) -> Contract:
    """Add what does not depend on the split: how cells are read, and which columns are nullable, strict or left out."""
    strict = params.data.strict
    features = tuple(
        feature.model_copy(update={"nullable": feature.name in incomplete, "strict": feature.name in strict})
        for feature in contract.features
    )
    known = {feature.name for feature in features}
    unused = dict.fromkeys((*(column.name for column in left_out), *params.data.ignore))
    left = tuple(name for name in unused if name not in known)
    return contract.model_copy(update={"features": features, "left_out": left, "reading": reading})


def main() -> None:
    """Read the typed table; write the prepared rows and the schema."""
    params = load_params()
    table, reading = open_typed(files.TYPED)
    with files.replacing(files.TRAIN) as train, files.replacing(files.TEST) as test:
        *_, schema = split_table(table, params, reading, partial(_store, train, test))
    files.write_json(files.SCHEMA, schema.model_dump(mode="json"))
    _report(schema)


def _store(train: Path, test: Path, pairs: Pairs) -> tuple[StoredTable, StoredTable]:
    with writing(train) as train_rows, writing(test) as test_rows:
        for ours, theirs in pairs:
            train_rows.add(ours)
            test_rows.add(theirs)
    return StoredTable(train), StoredTable(test)


def _report(schema: Schema) -> None:
    rows = schema.rows
    log(f"{rows.without_target:,} rows without a target dropped; {rows.train:,} train, {rows.test:,} test")
    log(f"split: {schema.split.share:.1%} of the rows are test rows, split.test_size is {schema.split.test_size:.1%}")
    for each in rows.classes[:_SHOWN_CLASSES]:
        shares = f"({each.train / rows.train:.1%}) train, {each.test:,} ({each.test / rows.test:.1%}) test"
        log(f"class {each.label}: {each.train:,} rows {shares}")
    if schema.rare_classes:
        log(schema.rare_classes.describe())
    derived = f", {len(schema.contract.derived)} derived from them" if schema.contract.derived else ""
    log(f"{schema.contract.task}: {len(schema.contract.features)} features{derived}")
    for column in schema.left_out:
        log(f"left out {column.name}: {column.reason}")
    for finding in schema.findings:
        log(f"check this: {finding}")


if __name__ == "__main__":
    run(main)
