"""All dashboards."""

from typing import Final

from monitoring.board_data import DATA
from monitoring.board_model import MODEL
from monitoring.board_service import SERVICE
from monitoring.board_training import TRAINING

BOARDS: Final = (SERVICE, MODEL, DATA, TRAINING)
