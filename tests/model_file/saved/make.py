"""Write the model of the present format; run it once per format version, and keep the file.

The model is small: two numbers in, three classes out, a scaler of scikit-learn as backbone.
"""

from pathlib import Path

import transfer_core
from transfer_core.model_file.header import FORMAT_VERSION

HERE = Path(__file__).parent
INPUTS = [{"x": 0.1, "y": 0.9}, {"x": 0.9, "y": 0.2}, {"x": 0.5, "y": 0.5}]


def rows():
    for number in range(60):
        x, y = (number % 10) / 9, (number % 6) / 5
        yield {"input": {"x": x, "y": y}, "label": "left" if x < 0.4 else "right" if y < 0.6 else "top"}


if __name__ == "__main__":
    model = transfer_core.train(backbone="sklearn:StandardScaler", data=list(rows()))
    model.save(HERE / f"format_{FORMAT_VERSION}.transfer")
    print([row["scores"] for row in model.predict(INPUTS)])
