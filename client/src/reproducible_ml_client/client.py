"""A client of the prediction service."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx
import pandas as pd

from reproducible_ml_client.encoding import encode_row, encode_table
from reproducible_ml_client.errors import InvalidError, ServiceError, TooLargeError
from reproducible_ml_client.results import Label, Model, ModelInfo, Prediction, Stored, Warned
from reproducible_ml_client.session import Credential, Fixed, Password, Session, Supplied

_ROWS: Final = 10_000
"""Most rows in a request, the service's default limit. If it allows fewer, the client sends half as many."""
_CELLS: Final = 500_000
"""Most cells in a request, so that a wide table's body stays below the service's limit."""
_EXPLAINED_ROWS: Final = 10
"""Most rows in a request for explanations, which take many times as long as predictions."""
Answer = dict[str, Any]


class Client:
    """A client of one service; threads may share it. Use it in a ``with`` block, or call `close`.

    Parameters
    ----------
    url
        Where the service is, such as ``https://ml.example.com/models/flights``.
    username, password
        A user of the service: the client gets tokens and renews them.
    api_key
        An API key, instead of a user.
    token
        A token that you have, or a function that returns one and is called again when the service refuses the last.
    timeout
        Seconds to wait for an answer, default 60.
    retries
        How often to try again if the service is busy or unreachable (429, 502, 503, no connection), default 5; with
        exponential backoff and jitter, and not before the service's Retry-After.
    backoff
        Longest pause before the first of these attempts, in seconds, default 0.5; it doubles each time, up to 30.
    http
        An `httpx.Client` of your own, with proxies or a private certificate authority; you close it.
    """

    def __init__(  # noqa: PLR0913  # each has a default
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        api_key: str | None = None,
        token: str | Callable[[], str] | None = None,
        timeout: float = 60.0,
        retries: int = 5,
        backoff: float = 0.5,
        http: httpx.Client | None = None,
    ) -> None:
        credential = _credential(username, password, api_key, token)
        self._http, self._is_own = http or httpx.Client(timeout=timeout), http is None
        self.url = url.rstrip("/")
        """Where the service is."""
        self._session = Session(self.url, credential, self._http, retries, backoff)
        self._info: ModelInfo | None = None

    def predict(self, table: pd.DataFrame, *, ids: bool = False, coverage: float | None = None) -> pd.DataFrame:
        """Predict each row of `table`.

        Parameters
        ----------
        table
            The features as columns. Those that may be missing may be left out.
        ids
            Add the column ``prediction_id``, for `feedback`.
        coverage
            Add what holds the truth with this probability: ``low`` and ``high`` in a regression, else ``set``, a
            list of classes; at most `ModelInfo.highest_coverage`.

        Returns
        -------
        DataFrame
            With the index of `table`: ``prediction``, ``probability_…`` for each class, and ``warnings``, which names
            values that training didn't have. ``attrs["models"]`` has each `Model` that answered; if a release came in
            between, there are two, and a warning is given.

        Raises
        ------
        InvalidError
            If values break the model's contract; its `errors` name rows and fields.
        ServiceError
            For any other failure.
        """
        query = _query(ids=ids, coverage=coverage)
        answers = self._ask(table, _ROWS, query)
        return _frame(_columns(answers, self._features(), query), table.index, answers)

    def predict_one(self, row: Mapping[str, Any], *, ids: bool = False, coverage: float | None = None) -> Prediction:
        """Predict one row, from feature to value. Raises as `predict`."""
        query = _query(ids=ids, coverage=coverage)
        answer = self._post(lambda types: [encode_row(row, types)], query)
        return Prediction(
            prediction=answer["predictions"][0],
            probabilities=answer["probabilities"][0] if "probabilities" in answer else None,
            model=Model.read(answer["model"]),
            warnings=tuple(map(Warned.read, answer.get("warnings", ()))),
            prediction_id=answer["prediction_ids"][0] if ids else None,
            interval=tuple(answer["intervals"][0]) if "intervals" in answer else None,
            prediction_set=tuple(answer["sets"][0]) if "sets" in answer else None,
        )

    def explain(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return how much each feature contributes to each row's score.

        Returns
        -------
        DataFrame
            With the index of `table`: ``base_value``, the mean score of background rows, and a column for each feature.
            They add up to the probability of the positive class or of the predicted one, or to the value.
            ``attrs["largest_error"]`` is the largest error of a contribution, 0 if all are exact.

        Raises
        ------
        ServiceError
            As `predict`; status 409 if the model in service has no explanations.
        """
        answers = self._ask(table, _EXPLAINED_ROWS, {"explain": "true"})
        names = ["base_value", *(feature.name for feature in self._features().features)]
        rows = [row for answer in answers for row in answer["explanations"]]
        found = _frame({name: [row[name] for row in rows] for name in names}, table.index, answers)
        errors = (error for answer in answers for error in answer["explanation_errors"])
        found.attrs["largest_error"] = max(errors, default=0.0)
        return found

    def feedback(self, table: pd.DataFrame) -> Stored:
        """Send actual outcomes: the columns ``prediction_id`` and ``actual``; others are ignored.

        Rows without an outcome yet are left out. You can send the same rows again: they change nothing.

        Raises
        ------
        InvalidError
            If an id or outcome is wrong; nothing of the request is stored, but earlier requests of 10,000 rows are.
        ServiceError
            For any other failure; status 409 if another outcome is already stored for a prediction.
        """
        known = table.loc[table["actual"].notna(), ["prediction_id", "actual"]]
        whole = all(type(label) is int for label in self._features().classes)
        if whole and pd.api.types.is_float_dtype(known["actual"].dtype) and (known["actual"] % 1 == 0).all():
            known = known.astype({"actual": "int64"})  # a missing outcome had turned the column into floats
        entries = encode_table(known, {})

        def send(start: int, end: int) -> Answer:
            return self._send("/feedback", '{"feedback":[' + ",".join(entries[start:end]) + "]}")

        answers = list(_in_parts(known.index, _ROWS, send))
        return Stored(sum(answer["new"] for answer in answers), sum(answer["known"] for answer in answers))

    def model_info(self) -> ModelInfo:
        """Return the model in service: its name, version, features, parameters and metrics."""
        self._info = ModelInfo.read(self._session.send("GET", "/model-info", signed=False))
        return self._info

    def close(self) -> None:
        """Close the connections."""
        if self._is_own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _features(self) -> ModelInfo:
        return self._info or self.model_info()

    def _ask(self, table: pd.DataFrame, most: int, query: Mapping[str, str]) -> list[Answer]:
        """Return the answers to the parts of a table."""
        most = max(1, min(most, _CELLS // max(1, table.shape[1])))

        def send(start: int, end: int) -> Answer:
            return self._post(lambda types: encode_table(table.iloc[start:end], types), query)

        return list(_in_parts(table.index, most, send))

    def _post(self, encode_rows: Callable[[Mapping[str, str]], list[str]], query: Mapping[str, str]) -> Answer:
        """Send rows; once more if they were refused because another model, with other types, is in service."""
        info = self._features()
        try:
            answer = self._send("/predict", _body(encode_rows, info), query)
        except InvalidError:
            if self.model_info().version == info.version:
                raise
            answer = self._send("/predict", _body(encode_rows, self._features()), query)
        if answer["model"]["version"] != self._features().version:
            self.model_info()
        return answer

    def _send(self, path: str, content: str, query: Mapping[str, str] | None = None) -> Answer:
        headers = {"Content-Type": "application/json"}
        answer: Answer = self._session.send("POST", path, content=content.encode(), params=query or {}, headers=headers)
        return answer


def _credential(
    username: str | None, password: str | None, api_key: str | None, token: str | Callable[[], str] | None
) -> Credential:
    given = [each is not None for each in (username or password, api_key, token)]
    if sum(given) != 1 or (username is None) != (password is None):
        raise ValueError("give either username and password, or api_key, or token")
    if username is not None and password is not None:
        return Password(username, password)
    return Supplied(token) if callable(token) else Fixed(api_key or token or "")


def _query(*, ids: bool, coverage: float | None) -> dict[str, str]:
    asked = {"ids": "true"} if ids else {}
    return asked if coverage is None else {**asked, "coverage": repr(float(coverage))}


def _body(encode_rows: Callable[[Mapping[str, str]], list[str]], info: ModelInfo) -> str:
    rows = encode_rows({feature.name: feature.type for feature in info.features})
    return '{"instances":[' + ",".join(rows) + "]}"


def _in_parts(index: pd.Index, most: int, send: Callable[[int, int], Answer]) -> Iterator[Answer]:
    """Yield the answers to parts of at most `most` rows; send half as many if the service says that it is too much."""
    start = 0
    while start < len(index):
        end = min(start + most, len(index))
        try:
            answer = send(start, end)
        except ServiceError as error:
            if isinstance(error, TooLargeError) and end - start > 1:
                most = (end - start) // 2
                continue
            error.locate(start, index)
            raise
        yield answer
        start = end


def _columns(answers: Sequence[Answer], info: ModelInfo, query: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return the columns of predictions."""

    def join(member: str) -> list[Any]:
        return [each for answer in answers for each in answer[member]]

    columns = {"prediction": join("predictions")}
    if info.classes:
        names = list(map(_class_name, info.classes))
        rows = [row for each in answers for row in each.get("probabilities", [{}] * len(each["predictions"]))]
        probabilities = [[row.get(name) for name in names] for row in rows]
        columns |= {f"probability_{name}": [row[place] for row in probabilities] for place, name in enumerate(names)}
    columns["warnings"] = [text for answer in answers for text in _warnings(answer)]
    if "ids" in query:
        columns["prediction_id"] = join("prediction_ids")
    if "coverage" in query and info.classes:
        columns["set"] = join("sets")
    elif "coverage" in query:
        intervals = join("intervals")
        columns |= {"low": [low for low, _ in intervals], "high": [high for _, high in intervals]}
    return columns


def _class_name(label: Label) -> str:
    """Return the class as a key of JSON: true, 1, late."""
    return label if isinstance(label, str) else str(label).lower()


def _warnings(answer: Answer) -> list[str]:
    """Return a text for each row, empty if there is no warning, as in the service's CSV."""
    texts: list[list[str]] = [[] for _ in answer["predictions"]]
    for each in answer.get("warnings", ()):
        texts[each["instance"]].append(f"{each['field']} {each['kind']}")
    return list(map("; ".join, texts))


def _frame(columns: Mapping[str, Sequence[Any]], index: pd.Index, answers: Sequence[Answer]) -> pd.DataFrame:
    found = pd.DataFrame(columns, index=index)
    models = list(dict.fromkeys(Model.read(answer["model"]) for answer in answers))
    found.attrs["models"] = models
    if len(models) > 1:
        names = ", ".join(model.version for model in models)
        warnings.warn(f"a release came in between, so several models answered: {names}", stacklevel=3)
    return found
