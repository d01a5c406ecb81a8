"""A data directory whose log is sealed, and the proof of one of its orders."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from runners.sealer import Sealing, sealing_of
from runners.settings import Settings
from runners.verify_export import judge, read_json, read_key
from tests.integration.running import orderspine

ORDER = "taobao:shop1:10008"


class Kept:
    """A data directory that was sealed twice, an outside witness of the first time, and an order's proof."""

    def __init__(self, base: Path) -> None:
        self.data = base / "data"
        self.checkpoints = base / "data.checkpoints"
        self.witness = base / "witness"
        self.settings = Settings(str(self.data), witness=str(self.witness))
        self.base = base

    @property
    def older(self) -> Path:
        return min(self.witness.glob("*.checkpoint.json"))

    @property
    def key(self) -> Path:
        return next(self.witness.glob("*.public.pem"))

    def export(self, name: str, *words: object) -> Path:
        file = self.base / name
        said = orderspine("audit", "export", ORDER, "--data", self.data, "--out", file, *words)
        assert said.code == 0, said.err
        return file

    def sealing(self) -> Sealing:
        return sealing_of(self.settings)


def change(data: Path, statement: str) -> None:
    with closing(sqlite3.connect(data / "log.db")) as db:
        db.execute(statement)
        db.commit()


def verdict(proof: Any, kept: Kept, *, older: bool = True, key: bool = True) -> int:
    held = [read_json(kept.older)] if older else []
    return judge(proof, held, [read_key(kept.key)] if key else [])[0]
