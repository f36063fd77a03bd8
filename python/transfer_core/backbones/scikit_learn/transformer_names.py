"""Parse `sklearn:…`: a transformer of scikit-learn, or a pipeline of several."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean

Modality = Literal["image", "text", "table"]

# The first step of a pipeline on images: the values of the pixels.
PIXELS = "pixels"
# The first step of a pipeline on tables: numbers and categories.
COLUMNS = "ColumnTransformer"

_MODULES = {
    "feature_extraction.text": "CountVectorizer HashingVectorizer TfidfVectorizer TfidfTransformer",
    "decomposition": "DictionaryLearning FactorAnalysis FastICA IncrementalPCA KernelPCA "
    "LatentDirichletAllocation MiniBatchDictionaryLearning MiniBatchSparsePCA PCA SparsePCA TruncatedSVD",
    "random_projection": "GaussianRandomProjection SparseRandomProjection",
    "kernel_approximation": "AdditiveChi2Sampler Nystroem PolynomialCountSketch RBFSampler SkewedChi2Sampler",
    "cluster": "KMeans MiniBatchKMeans",
    "neural_network": "BernoulliRBM",
    "preprocessing": "Binarizer KBinsDiscretizer MaxAbsScaler MinMaxScaler Normalizer PolynomialFeatures "
    "PowerTransformer QuantileTransformer RobustScaler StandardScaler",
    "impute": "KNNImputer MissingIndicator SimpleImputer",
    "feature_selection": "VarianceThreshold",
    "compose": COLUMNS,
}
# Each transformer's module.
TRANSFORMERS = {name: module for module, names in _MODULES.items() for name in names.split()}

_ON_PIXELS = {"decomposition", "random_projection", "kernel_approximation", "cluster", "neural_network"}

_FROM_LABELS = "is fitted on labels: metrics of the head's held-out examples would be too good"
_NO_NEW = "can't transform inputs that it was not fitted on"
_OF_LABELS = "is for labels, not for inputs"
_NOT_PLAIN = "can't be saved as plain numbers and texts"
_IN_COLUMNS = f"is part of sklearn:{COLUMNS}"
_JOINED = 'is written with bars: "sklearn:TfidfVectorizer | TruncatedSVD(n_components=100)"'
_BY_OTHERS = "transforms an input differently depending on the others in a batch"
_OTHER_INPUTS = "takes inputs of another kind (dictionaries, kernels, patches, graphs)"
_WITH_CODE = "takes a function or a model as its parameter"

# Transformers of scikit-learn that can't be a backbone, with the reason.
REFUSED = {
    name: why
    for why, names in {
        _FROM_LABELS: "TargetEncoder SelectKBest SelectPercentile SelectFdr SelectFpr SelectFwe "
        "GenericUnivariateSelect LinearDiscriminantAnalysis NeighborhoodComponentsAnalysis CCA PLSCanonical "
        "PLSRegression PLSSVD IsotonicRegression",
        _NO_NEW: "TSNE",
        _OF_LABELS: "LabelBinarizer LabelEncoder MultiLabelBinarizer",
        _NOT_PLAIN: "Birch BisectingKMeans FeatureAgglomeration Isomap LocallyLinearEmbedding "
        "RandomTreesEmbedding SplineTransformer",
        _IN_COLUMNS: "OneHotEncoder OrdinalEncoder",
        _JOINED: "Pipeline FeatureUnion",
        _BY_OTHERS: "NMF MiniBatchNMF",
        _OTHER_INPUTS: "DictVectorizer FeatureHasher KernelCenterer PatchExtractor KNeighborsTransformer "
        "RadiusNeighborsTransformer",
        _WITH_CODE: "FunctionTransformer RFE RFECV SelectFromModel SequentialFeatureSelector SparseCoder "
        "GridSearchCV RandomizedSearchCV StackingClassifier StackingRegressor VotingClassifier "
        "VotingRegressor",
    }.items()
    for name in names.split()
}


@dataclass(frozen=True)
class Step:
    """A transformer and its parameters."""

    name: str
    parameters: dict[str, Any]


def parse(text: str) -> tuple[Step, ...]:
    """Parse `TfidfVectorizer(min_df=3) | TruncatedSVD(n_components=100)` without running code.

    Raises
    ------
    RecipeError
        At `backbone` for an unknown name, with the nearest one; for another form.
    """
    try:
        steps = tuple(_steps(ast.parse(text.strip(), mode="eval").body, text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refusal(
            f'can\'t read "{text}": expected a name, perhaps with parameters, as in PCA(n_components=50)'
        ) from None
    for step in steps:
        _check_name(step.name)
    for step in steps[1:]:
        if step.name in (PIXELS, COLUMNS) or modality_of((step,)) == "text":
            raise refusal(f"{step.name} takes the inputs themselves: it can only be the first step")
    return steps


def modality_of(steps: tuple[Step, ...]) -> Modality:
    """Modality of the first step.

    Vectorizers take texts; decompositions (PCA) and similar take the pixels of images; all others take the
    columns of a table.
    """
    first = steps[0].name
    if first.endswith("Vectorizer"):
        return "text"
    return "image" if first == PIXELS or TRANSFORMERS[first] in _ON_PIXELS else "table"


def refusal(message: str) -> RecipeError:
    """An error at `backbone`."""
    return RecipeError([Problem("backbone", message)])


def _steps(node: ast.expr, text: str) -> Iterator[Step]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _steps(node.left, text)
        yield from _steps(node.right, text)
    elif isinstance(node, ast.Name):
        yield Step(node.id, {})
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        yield Step(node.func.id, {_keyword(word): ast.literal_eval(word.value) for word in node.keywords})
    else:
        raise ValueError(text)


def _keyword(word: ast.keyword) -> str:
    if word.arg is None:
        raise ValueError("**")
    return word.arg


def _check_name(name: str) -> None:
    if name in REFUSED:
        raise refusal(f"sklearn:{name} {REFUSED[name]}")
    if name == PIXELS or name in TRANSFORMERS:
        return
    if name.endswith(("Classifier", "Regressor", "Regression", "SVC", "SVR", "NB")):
        raise refusal(f"sklearn:{name} is a predictor, not a transformer. Try: head :random_forest")
    known = [PIXELS, *TRANSFORMERS]
    raise refusal(
        f'unknown transformer of scikit-learn "{name}"{did_you_mean(name, known)} '
        f"(one of: {', '.join(sorted(known, key=str.lower))})"
    )
