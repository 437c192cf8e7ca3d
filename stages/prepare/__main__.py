"""Split the table into training and test rows, and write the schema of its columns.

Example: dvc repro prepare
"""

import numpy as np
import pandas as pd

from service.cells import Reading
from service.contract import Contract
from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.params.loading import load_params
from stages.params.params import Params
from stages.params.task import check_task
from stages.prepare import row_hash, weights
from stages.prepare import target as _target
from stages.prepare.columns import find_features
from stages.prepare.derived import add_inputs, check_names, inspect
from stages.prepare.example import build_example
from stages.prepare.rare import Resolved, resolve
from stages.prepare.review import review
from stages.prepare.split import describe, split_rows
from stages.prepare.weights import check_weights
from stages.schema import ClassRows, LeftOut, Rows, Schema
from stages.table.typed import read_typed

_SHOWN_CLASSES = 10


def prepare(
    table: pd.DataFrame, params: Params, reading: Reading | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, Schema]:
    """Split `table` into prepared training and test rows, and describe them.

    `reading` are the rules that its cells were read by.

    `validate` has checked that the target has two values in enough rows, and that the split's column exists.
    Raises UserError where the target cannot be learnt or the rows cannot be split.
    """
    whole, name = table, params.data.target
    table = whole[whole[name].notna()]
    check_weights(table, params.data)
    classification = _target.is_classification(table[name], params.data.task)
    labels = _target.labels(table[name], params) if classification else table[name].astype("float64")
    # Ignored columns are here only for `features` and `evaluate.groups`; neither they nor a weight move a row.
    read = table.drop(columns=[*params.data.ignore, params.data.weight], errors="ignore")
    content = row_hash.rows(read.drop(columns=name))
    test_rows = split_rows(table, content, params.split)
    split = describe(read, name, test_rows, params.data, params.split)
    resolved = resolve(labels, test_rows, params.data) if classification else Resolved(labels, test_rows | True, None)
    train, test = table[~test_rows & resolved.kept], table[test_rows & resolved.kept]
    if test.empty:
        raise UserError(f"{params.data.path}: no test row is left, as all have rare classes; change split.test_size")
    target = resolved.target
    contract, left_out = _decide(train, test, target[train.index], params, classification=classification)
    check_task(params, contract)
    contract = _complete(contract, whole, left_out, params, reading or Reading())
    # An earlier model may need a column that this one leaves out, or may be split by it.
    others = [column.name for column in left_out]
    kept = [column for column in others if column in (params.split.column, params.split.key, params.data.weight)]
    known = {*others, *(feature.name for feature in contract.features)}
    groups = [column for column in _existing(params.evaluate.groups, table) if column not in known]
    train, test = _typed(train, target, contract, kept), _typed(test, target, contract, [*others, *groups])
    notes, features, train_seen, test_seen = inspect(contract, train, test)
    schema = Schema(
        rows=Rows(
            read=len(whole),
            without_target=len(whole) - len(table),
            train=len(train),
            test=len(test),
            classes=tuple(
                ClassRows(label=label, train=int((train[name] == label).sum()), test=int((test[name] == label).sum()))
                for label in contract.classes
            ),
        ),
        split=split,
        rare_classes=resolved.about,
        findings=(*notes, *review(labels if classification else None, train_seen, test_seen, features, split)),
        contract=contract,
        left_out=left_out,
    )
    return train, test.join(pd.Series(content[test_rows & resolved.kept], name=split.hash_column)), schema


def _existing(groups: list[str], table: pd.DataFrame) -> list[str]:
    """Return the columns of `evaluate.groups`. Raises UserError if the table lacks one."""
    for column in groups:
        if column not in table:
            raise UserError(f"params.yaml: evaluate.groups: no column {column!r} in the table; correct the name")
    return groups


def _decide(
    train: pd.DataFrame, test: pd.DataFrame, target: pd.Series, params: Params, *, classification: bool
) -> tuple[Contract, tuple[LeftOut, ...]]:
    split = params.split
    excluded = {split.key: "identifies the row (split.key)"} if split.key else {}
    if split.method == "group" and split.group_column:
        excluded[split.group_column] = "names the group of the split; test rows have other groups"
    if params.data.weight:
        excluded[params.data.weight] = weights.REASON
    later = test if split.method == "time" else None
    columns = train.drop(columns=[params.data.target, *params.data.ignore], errors="ignore")
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
    contract: Contract, whole: pd.DataFrame, left_out: tuple[LeftOut, ...], params: Params, reading: Reading
) -> Contract:
    """Add what does not depend on the split: how cells are read, and which columns are nullable, strict or left out."""
    missing, strict = whole.isna().any(), params.data.strict
    features = tuple(
        feature.model_copy(update={"nullable": bool(missing[feature.name]), "strict": feature.name in strict})
        for feature in contract.features
    )
    known = {feature.name for feature in features}
    unused = dict.fromkeys((*(column.name for column in left_out), *params.data.ignore))
    left = tuple(name for name in unused if name not in known)
    return contract.model_copy(update={"features": features, "left_out": left, "reading": reading})


def _typed(rows: pd.DataFrame, target: pd.Series, contract: Contract, keep: list[str]) -> pd.DataFrame:
    """Return the features as float32, text and datetime64, the columns `keep` and the target."""
    columns = {}
    for feature in contract.features:
        values = rows[feature.name]
        if feature.type in ("number", "boolean"):
            columns[feature.name] = pd.Series(values.to_numpy(np.float32, na_value=np.nan), index=rows.index)
        else:
            columns[feature.name] = values.astype("str" if feature.type == "category" else "datetime64[us]")
    columns |= {name: rows[name] for name in keep}
    columns[contract.target] = target.loc[rows.index]
    return pd.DataFrame(columns).reset_index(drop=True)


def main() -> None:
    """Read the typed table; write the prepared rows and the schema."""
    params = load_params()
    table, reading = read_typed(files.TYPED)
    train, test, schema = prepare(table, params, reading)
    for path, rows in ((files.TRAIN, train), (files.TEST, test)):
        with files.replacing(path) as beside:
            rows.to_parquet(beside, index=False)
    files.write_json(files.SCHEMA, schema.model_dump(mode="json"))
    _report(schema)


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
