"""scikit-learn's logistic regression on standardised rows of features.

python head_sklearn.py ROWS
"""

import json
import sys
import time

from clusters import clusters
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

features, targets, unseen, truth = clusters(int(sys.argv[1]))
started = time.monotonic()
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(features, targets)
fit_s = time.monotonic() - started
print(json.dumps({"fit_s": fit_s, "accuracy": model.score(unseen, truth)}))
