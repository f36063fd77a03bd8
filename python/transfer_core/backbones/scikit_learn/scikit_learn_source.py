"""scikit-learn's transformers as a source of backbones."""

from transfer_core.backbones.registry import Source, register

register(
    Source(
        name="scikit_learn",
        loading="transfer_core.backbones.scikit_learn.scikit_learn_loading",
        prefixes=("sklearn",),
        packages=("scikit-learn",),
        is_fitted=True,
    )
)
