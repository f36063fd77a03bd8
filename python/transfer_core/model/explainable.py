"""Explanations of a trained model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from transfer_core.data import Input
from transfer_core.model.inference import Inference

if TYPE_CHECKING:
    from transfer_core.explain.attention_maps import AttentionMaps
    from transfer_core.explain.explanation import Explanation
    from transfer_core.explain.features import Features
    from transfer_core.model.by_example import Influential, Similar
    from transfer_core.model.faithfulness import Faithfulness


class Explainable(Inference):
    """A trained model that explains its predictions and shows its layers."""

    def explain(
        self, input: Input, label: str | None = None, against: str | None = None, method: str = "auto"
    ) -> Explanation:
        """Explain a prediction by contributions of pixels, words or columns (docs/reference/explanation.md).

        By default the method follows from backbone and head: exact contributions to a linear head on a table
        or on terms, integrated gradients of other heads of dense layers, HiResCAM at the last block with
        spatial maps or at the level of the feature pyramid that gave a box, gradient-weighted attention of
        transformers, attention to the source of translations, and occlusion for all others.

        Parameters
        ----------
        input
            One input, as for `predict`.
        label
            The class, label or output to explain; None: the most probable one, or the first output. Of a
            detector: only boxes of this class. Of a model that generates texts: the target to align.
        against
            A class or output: explain the difference of both scores.
        method
            `auto`, or one of `hirescam`, `attention`, `rollout`, `linear`, `integrated_gradients`,
            `occlusion`, `rise` and `cross_attention`, where it applies.

        Returns
        -------
        Explanation
            `heatmap` and `overlay` of an image, `tokens` of a text, `columns` of a row, `boxes` of a
            detector, or `alignment` of a translation.

        Raises
        ------
        DataError
            If the input can't be read.
        RecipeError
            If the model has no such label, or the method does not apply.
        """
        from transfer_core.model.explaining import explain

        return explain(self, input, label, against, method)

    def features(self, input: Input, block: str | None = None, most: int = 16) -> Features:
        """The most active channels of a block of the network for one image.

        Parameters
        ----------
        input
            One image, as for `predict`.
        block
            A block of the backbone, as in `unfreeze`; None: the last one with spatial maps or patches.
        most
            Channels.

        Returns
        -------
        Features
            `maps` (C, h, w), `channels`, and `overlay`, a PNG.

        Raises
        ------
        DataError
            If the image can't be read.
        RecipeError
            If the model takes other inputs, has no such block, or is no network of PyTorch.
        """
        from transfer_core.model.looking_inside import features

        return features(self, input, block, most)

    def attention(self, input: Input) -> AttentionMaps:
        """The attention of a vision or text transformer for one input, per head and rolled out.

        Parameters
        ----------
        input
            One image or text, as for `predict`; of a long text its beginning.

        Returns
        -------
        AttentionMaps
            `heads` (layers, H, L, L), `rolled_out` (L, L), `tokens`, and `overlay`, a PNG.

        Raises
        ------
        DataError
            If the input can't be read.
        RecipeError
            If the network has no attention over all tokens.
        """
        from transfer_core.model.looking_inside import attention

        return attention(self, input)

    def similar(self, input: Input, count: int = 5) -> list[Similar]:
        """The stored training examples nearest to an input, by the distance of their embeddings.

        A model stores up to 1,000 training examples, chosen at random.

        Parameters
        ----------
        input
            One input, as for `predict`.
        count
            Number of examples, the nearest first.

        Returns
        -------
        list of Similar
            Each with `distance`, `label`, and `name` and `thumbnail` of an image or `text` of a text or row.

        Raises
        ------
        DataError
            If the input can't be read.
        RecipeError
            If the model stores no examples, or `count` is less than 1.
        """
        from transfer_core.model.by_example import similar

        return similar(self, input, count)

    def influential(self, input: Input, count: int = 5) -> list[Influential]:
        """The stored training examples that influence a prediction most, by influence functions.

        The change of the log probability of the predicted class or label, or of the first predicted value, by
        having an example in the training, is estimated from gradient and Hessian of the loss at its minimum
        (Koh and Liang 2017).

        Parameters
        ----------
        input
            One input, as for `predict`.
        count
            Number of examples, those of the largest influence first, positive or negative.

        Returns
        -------
        list of Influential
            Each with `influence`, `label`, and `name` and `thumbnail` of an image or `text` of a text or row.

        Raises
        ------
        DataError
            If the input can't be read.
        RecipeError
            If the head is not linear and fitted by L-BFGS on a frozen backbone with examples of equal weight,
            the model stores no examples, or `count` is less than 1.
        """
        from transfer_core.model.by_example import influential

        return influential(self, input, count)

    def faithfulness(
        self, inputs: Iterable[Input], method: str = "auto", most: int = 20, steps: int = 5, seed: int = 0
    ) -> Faithfulness:
        """Measure whether explanations are faithful, by removing and adding parts in their order.

        Parameters
        ----------
        inputs
            Images or texts that the model was not trained on.
        method
            As for `explain`.
        most
            Inputs that are measured at most; each takes 4 × `steps` predictions and two explanations.
        steps
            Shares of the parts that are removed and added.
        seed
            Of the random order and of the shuffled head.

        Raises
        ------
        DataError
            If an input can't be read.
        RecipeError
            If the model is no classifier of images or texts, there are no inputs, or the method does not
            apply.
        """
        from transfer_core.model.faithfulness import faithfulness

        return faithfulness(self, inputs, method, most, steps, seed)
