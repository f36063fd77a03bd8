"""Write scikit-learn's breast cancer data (569 tumours, 30 measurements, the diagnosis) as a CSV file.

    python examples/breast_cancer.py FILE

The column `split` assigns a fifth of each diagnosis to `test`, drawn with seed 0.
"""

from __future__ import annotations

import csv
import sys

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

data = load_breast_cancer()
_, test = train_test_split(range(len(data.target)), test_size=0.2, stratify=data.target, random_state=0)
held_out = set(test)
with open(sys.argv[1], "w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow([*data.feature_names, "diagnosis", "split"])
    for row, (measurements, target) in enumerate(zip(data.data, data.target, strict=True)):
        split = "test" if row in held_out else "train"
        table.writerow([*measurements, data.target_names[target], split])
