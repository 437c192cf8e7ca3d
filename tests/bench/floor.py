"""The floor, with which the service is compared: FastAPI and Pydantic validate the same body and return a constant."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field, create_model

from service import model

_TYPES: dict[str, Any] = {"number": float, "boolean": bool, "category": str, "date": datetime}
_CONTRACT = model.load(Path(os.environ["FLOOR_MODEL"])).contract

Row: Any = create_model(  # type: ignore[call-overload]  # fields known at run time
    "Row",
    **{
        f"f{number}": (
            _TYPES[feature.type] | None if feature.nullable else _TYPES[feature.type],
            Field(alias=feature.name),
        )
        for number, feature in enumerate(_CONTRACT.features)
    },
)


class Body(BaseModel):
    instances: list[Row]


app = FastAPI()
_ANSWER = {
    "predictions": [_CONTRACT.classes[0] if _CONTRACT.classes else 0.5],
    "probabilities": [{str(label): 0.5 for label in _CONTRACT.classes}],
    "model": {"name": "model", "version": "0" * 32},
}


@app.post("/predict")
async def predict(body: Body) -> Any:
    return _ANSWER
