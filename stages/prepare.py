"""Turn the table into training rows, test rows and a schema that says what was decided."""

import numpy as np
import pandas as pd

from service.contract import Contract, Feature
from stages import _files, _params, _tables, _target
from stages._columns import Roles, find_features, in_words
from stages._entry import log, run
from stages._errors import UserError
from stages._params import Params
from stages._schema import LeftOut, Rows, Schema, Split
from stages._split import split_rows

MIN_ROWS = 20


def prepare(table: pd.DataFrame, params: Params) -> tuple[pd.DataFrame, pd.DataFrame, Schema]:
    """Split `table` into prepared training and test rows, and describe them.

    Raises UserError where the target cannot be learnt or a named column is not there.
    """
    rows_read = len(table)
    table = _with_target(table, params)
    classification = _target.is_classification(table[params.data.target], params.data.task)
    read = _target.labels if classification else _target.values
    target = read(table[params.data.target], params)
    test_rows = split_rows(table, target, params.split, stratify=classification, seed=params.random_state)
    classes = _target.classes(target[~test_rows], params) if classification else ()
    unlearnt = test_rows & ~target.isin(classes).to_numpy() if classification else np.zeros_like(test_rows)
    train, test = table[~test_rows], table[test_rows & ~unlearnt]
    if test.empty:
        raise UserError(
            f"{params.data.path}: no test row has a class that a training row has; "
            "change split.method or split.test_size"
        )
    features, left_out = _decided(train, None if classification else target[~test_rows], params)
    contract = Contract(
        task=_target.task(classes),
        target=params.data.target,
        classes=classes,
        positive=_target.positive(target[~test_rows], classes, params),
        features=features,
    )
    rows = Rows(
        read=rows_read,
        without_target=rows_read - len(table),
        train=len(train),
        test=len(test),
        test_of_unlearnt_class=int(unlearnt.sum()),
    )
    words = in_words(features, left_out)
    schema = Schema(
        rows=rows,
        split=_describe_split(train, test, params),
        columns={name: words[name] for name in table.columns if name in words},
        contract=contract,
        left_out=left_out,
    )
    keep = _columns_of_split(params, contract)
    return _typed(train, target, contract, keep), _typed(test, target, contract, keep), schema


def _with_target(table: pd.DataFrame, params: Params) -> pd.DataFrame:
    known = table[params.data.target].notna()
    if known.sum() < MIN_ROWS:
        raise UserError(
            f"{params.data.path}: {known.sum()} of {len(table)} rows have a value in {params.data.target!r}; "
            f"at least {MIN_ROWS} are needed"
        )
    return table if known.all() else table[known]


def _decided(
    train: pd.DataFrame, numbers: pd.Series | None, params: Params
) -> tuple[tuple[Feature, ...], tuple[LeftOut, ...]]:
    split_column = _split_column(params)
    roles = Roles(
        target=params.data.target,
        time_column=split_column if params.split.method == "time" else None,
        group_column=split_column if params.split.method == "group" else None,
    )
    for name in params.data.strict:
        if name not in train.columns:
            raise UserError(f"params.yaml: data.strict: the table has no column {name!r}, or data.ignore names it")
    features, left_out = find_features(train, roles, numbers)
    if not features:
        reasons = "; ".join(f"{column.name}: {column.reason}" for column in left_out) or "the target is the only column"
        raise UserError(f"{params.data.path}: no column is left as a feature: {reasons}")
    strict = [
        feature.model_copy(update={"strict": True}) if feature.name in params.data.strict else feature
        for feature in features
    ]
    return tuple(strict), tuple(left_out)


def _columns_of_split(params: Params, contract: Contract) -> list[str]:
    column = _split_column(params)
    return [column] if column and column not in {feature.name for feature in contract.features} else []


def _split_column(params: Params) -> str | None:
    return {"time": params.split.time_column, "group": params.split.group_column}.get(params.split.method)


def _describe_split(train: pd.DataFrame, test: pd.DataFrame, params: Params) -> Split:
    column = _split_column(params)
    if params.split.method != "time":
        return Split(method=params.split.method, column=column)
    return Split(
        method="time",
        column=column,
        train_from=str(train[column].min()),
        train_to=str(train[column].max()),
        test_from=str(test[column].min()),
        test_to=str(test[column].max()),
    )


def _typed(rows: pd.DataFrame, target: pd.Series, contract: Contract, keep: list[str]) -> pd.DataFrame:
    columns = {}
    for feature in contract.features:
        values = rows[feature.name]
        if feature.type in ("number", "boolean"):
            columns[feature.name] = pd.Series(values.to_numpy(np.float32, na_value=np.nan), index=rows.index)
        elif feature.type == "category":
            columns[feature.name] = values.astype("str")
        else:
            columns[feature.name] = values.astype("datetime64[us]")
    columns |= {name: rows[name] for name in keep}
    columns[contract.target] = target.loc[rows.index]
    return pd.DataFrame(columns).reset_index(drop=True)


def main() -> None:
    """Read the table, write the prepared rows and the schema."""
    params = _params.load(_files.PARAMS)
    train, test, schema = prepare(_tables.read(params.data), params)
    for path, rows in ((_files.TRAIN, train), (_files.TEST, test)):
        with _files.replacing(path) as beside:
            rows.to_parquet(beside, index=False)
    _files.write_json(_files.SCHEMA, schema.model_dump(mode="json"))
    log(f"{schema.rows.without_target:,} rows without a target dropped; {len(train):,} train, {len(test):,} test")
    if schema.rows.test_of_unlearnt_class:
        log(f"{schema.rows.test_of_unlearnt_class:,} test rows left out: no training row has their class")
    log(f"{schema.contract.task}: {len(schema.contract.features)} features")
    for column in schema.left_out:
        log(f"left out {column.name}: {column.reason}")


if __name__ == "__main__":
    run(main)
