"""Write a Parquet file of logits and targets of any size, quickly: `python -m bench.make_parquet GIGABYTES FILE`.

Every row group differs from every other: it is one block of random logits, its rows turned and shifted by a number of
its own.
"""

import argparse

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, CLASSES = 2**14, 1000


def write(path: str, gigabytes: float, *, classes: int = CLASSES, rows: int = ROWS, nullable: bool = False) -> int:
    """How many rows `path` then has: whole row groups of `rows`, of `gigabytes` of logits or a little more.

    Columns that are `nullable`, though nothing is null, take Arrow a third longer to read.
    """
    random = np.random.default_rng(7)
    block = random.standard_normal((rows, classes), np.float32)
    groups = -(-int(gigabytes * 1e9) // block.nbytes)
    kind = pa.list_(pa.field("element", pa.float32(), nullable), classes)
    schema = pa.schema([pa.field("logits", kind, nullable), pa.field("targets", pa.int64(), nullable)])
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(path, schema, **options) as writer:
        for group in range(groups):
            logits = np.roll(block, group, axis=0) + np.float32(group / 8)
            targets = random.integers(0, classes, rows)
            logits[np.arange(rows), targets] += random.exponential(4, rows).astype(np.float32)
            columns = [pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), type=kind), pa.array(targets)]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=rows)
    return groups * rows


def main() -> None:
    """See this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gigabytes", type=float)
    parser.add_argument("file")
    parser.add_argument("--nullable", action="store_true")
    found = parser.parse_args()
    print(f"{write(found.file, found.gigabytes, nullable=found.nullable):,} rows")


if __name__ == "__main__":
    main()
