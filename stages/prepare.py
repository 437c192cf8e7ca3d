"""Turn the table into training rows, test rows and a schema that says what was decided."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api import types

from service.contract import Contract, Label
from stages import _files, _params, _tables
from stages._columns import Roles, find_features
from stages._entry import log, run
from stages._errors import UserError
from stages._params import Params
from stages._schema import Rows, Schema, Split
from stages._split import split_rows

MIN_ROWS = 20
_MAX_NUMBER_CLASSES = 20
_MAX_CLASSES = 200


def prepare(table: pd.DataFrame, params: Params) -> tuple[pd.DataFrame, pd.DataFrame, Schema]:
    """Split `table` into prepared training and test rows, and describe them.

    Raises UserError where the target cannot be learnt or a named column is not there.
    """
    name = params.data.target
    rows_read = len(table)
    table = table[table[name].notna()]
    if len(table) < MIN_ROWS:
        raise UserError(
            f"{params.data.path}: {len(table)} rows have a value in {name!r}; at least {MIN_ROWS} are needed"
        )
    classification = _is_classification(table[name], params.data.task)
    target = _labels(table[name], params) if classification else _values(table[name], params)
    test_rows = split_rows(table, target, params.split, stratify=classification, seed=params.random_state)
    train, test = table[~test_rows], table[test_rows]
    classes = _classes(target[~test_rows], params) if classification else ()
    features, left_out = find_features(train, Roles(name, params.split.time_column, params.split.group_column))
    if not features:
        raise UserError(
            f"{params.data.path}: no column is left as a feature: "
            + "; ".join(f"{c.name}: {c.reason}" for c in left_out)
        )
    contract = Contract(task=_task(classes), target=name, classes=classes, features=tuple(features))
    schema = Schema(
        rows=Rows(read=rows_read, without_target=rows_read - len(table), train=len(train), test=len(test)),
        split=_describe_split(train, test, params),
        contract=contract,
        left_out=tuple(left_out),
    )
    keep = _columns_of_split(params, contract)
    return _typed(train, target, contract, keep), _typed(test, target, contract, keep), schema


def _is_classification(target: pd.Series, task: str) -> bool:
    if task != "auto":
        return task == "classification"
    if types.is_bool_dtype(target.dtype) or not types.is_numeric_dtype(target.dtype):
        return True
    distinct = target.nunique()
    return bool(np.all(target % 1 == 0)) and distinct <= min(_MAX_NUMBER_CLASSES, max(2, len(target) // 10))


def _labels(target: pd.Series, params: Params) -> pd.Series:
    if types.is_datetime64_any_dtype(target.dtype):
        raise UserError(f"{params.data.path}: the target {target.name!r} holds dates; expected classes or numbers")
    if types.is_bool_dtype(target.dtype):
        labels: pd.Series[Any] = target.astype(bool)
    elif types.is_numeric_dtype(target.dtype):
        if (target % 1 != 0).any():
            raise UserError(
                f"params.yaml: data.task: classification, but the target {target.name!r} holds fractions; say regression"  # noqa: E501
            )
        labels = target.astype("int64")
    else:
        labels = target.astype(str)
    counts = labels.value_counts()
    if len(counts) < 2:  # noqa: PLR2004
        raise UserError(
            f"{params.data.path}: the target {target.name!r} has the one class {counts.index[0]!r}; two are needed"
        )
    if len(counts) > _MAX_CLASSES:
        raise UserError(
            f"{params.data.path}: the target {target.name!r} has {len(counts):,} classes; at most {_MAX_CLASSES} are allowed"  # noqa: E501
        )
    if counts.min() < 2:  # noqa: PLR2004
        raise UserError(
            f"{params.data.path}: the target {target.name!r} has a class with one row: {counts.idxmin()!r}; "
            "two are needed, to train and to test: add rows or merge the class with another"
        )
    return labels


def _values(target: pd.Series, params: Params) -> pd.Series:
    if types.is_bool_dtype(target.dtype) or not types.is_numeric_dtype(target.dtype):
        raise UserError(
            f"params.yaml: data.task: regression, but the target {target.name!r} holds {target.iloc[0]!r}, not numbers"
        )
    values = target.astype("float64")
    if values.min() == values.max():
        raise UserError(
            f"{params.data.path}: the target {target.name!r} is {values.iloc[0]:g} in every row; nothing to learn"
        )
    return values


def _classes(train_target: pd.Series, params: Params) -> tuple[Label, ...]:
    classes: list[Label] = sorted(train_target.unique().tolist())
    if len(classes) < 2:  # noqa: PLR2004
        raise UserError(
            f"{params.data.path}: the training rows hold the one class {classes[0]!r} of {params.data.target!r}; "
            "change split.method or split.test_size"
        )
    return tuple(classes)


def _task(classes: tuple[Label, ...]) -> Literal["binary", "multiclass", "regression"]:
    if not classes:
        return "regression"
    return "binary" if len(classes) == 2 else "multiclass"  # noqa: PLR2004


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
    log(f"{schema.contract.task}: {len(schema.contract.features)} features")
    for column in schema.left_out:
        log(f"left out {column.name}: {column.reason}")


if __name__ == "__main__":
    run(main)
