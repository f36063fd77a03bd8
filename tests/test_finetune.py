"""Training through the backbone: what moves, what must not, and that a bare PyTorch loop gives the same."""

import copy
import math
import random
import time

import numpy as np
import pytest
import torch
from torch import nn

from photos import save
from tiny_backbone import WIDTH, tiny_backbone
from transfer_core.data import Dataset
from transfer_core.features import load_augmented_pixels, load_pixels
from transfer_core.features.image_tensors import normalize, to_batch
from transfer_core.finetune import Examples, fine_tune
from transfer_core.finetune.network import Tail
from transfer_core.plan.phases import Phase
from transfer_core.recipe.augmentations import Crop, Flip
from transfer_core.recipe.steps import Train
from transfer_core.runtime.devices import Machine
from transfer_core.runtime.errors import Cancelled, DataError, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CrossEntropy, SquaredError
from transfer_core.training import optimizers
from transfer_core.training.batch import Batch
from transfer_core.training.cpu_execution import CpuExecution
from transfer_core.training.losses import loss_of
from transfer_core.training.single_device_execution import SingleDeviceExecution, single_device_execution

CPU = torch.device("cpu")
MACHINE = Machine(CPU, "float32")
CROSS_ENTROPY = CrossEntropy()
BLOCKS = ("stem", "middle", "last")
STEP = Train(
    epochs=2,
    optimizer="adamw",
    learning_rate=1e-2,
    weight_decay=1e-2,
    batch_size=4,
    schedule="constant",
    warmup=0.0,
    early_stopping=0,
)


def step(**words):
    fields = {name: getattr(STEP, name) for name in STEP.__struct_fields__}
    return Train(**{**fields, **words})


def new_head(outputs=2, seed=3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(WIDTH, outputs))


@pytest.fixture
def two_cores(monkeypatch):
    """A batch of 4 is two micro-batches, on any machine."""
    monkeypatch.setattr("transfer_core.training.cpu_execution.machine_cores", lambda: 2)


@pytest.fixture
def images(tmp_path):
    """`images(n)`: n photos of 20 pixels with classes that alternate."""

    def make(count, first=0, targets=None):
        noise = [np.random.default_rng(first + i).integers(0, 256, (20, 20, 3)) for i in range(count)]
        paths = [save(tmp_path / f"{first + i}.png", array.astype(np.uint8)) for i, array in enumerate(noise)]
        digests = tuple(f"{first + i:064x}" for i in range(count))
        targets = torch.arange(count) % 2 if targets is None else targets
        return Examples(Dataset(tuple(paths), digests, targets.numpy()), targets, torch.ones(count))

    return make


def tune(
    images,
    valid,
    trainable=BLOCKS,
    backbone=None,
    head=None,
    seed=0,
    augmentations=(),
    progress=Progress(),
    criterion=CROSS_ENTROPY,
    **words,
):
    """The backbone and the head after fine-tuning, and the history."""
    backbone, head = backbone or tiny_backbone(), head or new_head()
    phase = Phase(step(**words), tuple(trainable))
    given = backbone, head, phase, images, valid, augmentations, MACHINE, criterion, seed, progress
    return backbone, head, fine_tune(*given)


def state_of(module):
    return copy.deepcopy(module.state_dict())


def batch_of(images, rows, preprocessing):
    pixels = to_batch([load_pixels(images.dataset.inputs[row], preprocessing) for row in rows])
    return normalize(pixels, preprocessing, torch.float32)


def loss_on(images, backbone, head):
    with torch.no_grad():
        inputs = batch_of(images, range(len(images)), backbone.preprocessing)
        return float(nn.functional.cross_entropy(head(backbone(inputs)), images.targets))


@pytest.mark.parametrize("trainable", [("last",), ("middle", "last"), ("stem",), BLOCKS, ()])
def test_only_what_is_named_moves(images, trainable):
    before, head_before = state_of(tiny_backbone()), state_of(new_head())
    backbone, head, _ = tune(images(8), images(0), trainable)
    for name, tensor in backbone.state_dict().items():
        moves = name.split(".")[1] in trainable and "running" not in name and "tracked" not in name
        assert torch.equal(tensor, before[name]) != moves, name
    assert not any(torch.equal(tensor, head_before[name]) for name, tensor in head.state_dict().items())


def test_statistics_of_all_norms_stand_still_and_their_weights_train_with_the_block(images):
    before = state_of(tiny_backbone())
    backbone, _, _ = tune(images(8), images(0), ["last"], epochs=3)
    after = backbone.state_dict()
    statistics = [name for name in after if "running" in name or name.endswith("tracked")]
    assert len(statistics) == 9
    assert all(torch.equal(after[name], before[name]) for name in statistics)
    assert not torch.equal(after["blocks.last.1.weight"], before["blocks.last.1.weight"])


def test_frozen_blocks_have_neither_gradients_nor_a_place_in_the_optimizer(images, monkeypatch):
    import transfer_core.training.loop as training

    built = []
    build = training.build_optimizer
    monkeypatch.setattr(training, "build_optimizer", lambda *given: built.append(build(*given)) or built[-1])
    backbone, head, _ = tune(images(8), images(0), ["last"])
    (optimizer,) = built
    known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    trained = [*backbone.blocks.last.parameters(), *head.parameters()]
    assert known == {id(parameter) for parameter in trained}
    assert {id(parameter) for parameter in optimizer.state} == known
    for block in (backbone.blocks.stem, backbone.blocks.middle):
        assert all(parameter.grad is None for parameter in block.parameters())


def test_modes():
    backbone = tiny_backbone()
    network = Tail(backbone, new_head(), ["stem", "last"], 0)
    network.train()
    convs, norms = ([block[i] for block in backbone.blocks] for i in (0, 1))
    assert [conv.training for conv in convs] == [True, False, True]
    assert [norm.training for norm in norms] == [False, False, False]
    assert network.head.training
    needed = [p.requires_grad for p in backbone.blocks.parameters()]
    assert needed == [True] * 3 + [False] * 3 + [True] * 3
    network.eval()
    assert not any(module.training for module in network.modules())


def test_what_comes_back_is_ready_for_use(images):
    backbone, head, _ = tune(images(8), images(4, first=50), ["last"])
    for module in (backbone, head):
        assert not any(inner.training for inner in module.modules())
        assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("count", [8, 9, 10])
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_parity_with_a_bare_loop(images, optimizer, count):
    """Same batches, same seed, no statistics from batches: equal weights."""
    some, backbone, head = images(count), tiny_backbone(), new_head()
    momentum = 0.9 if optimizer == "sgd" else None
    tuned = tune(some, images(0), ["stem", "last"], optimizer=optimizer, momentum=momentum, seed=7)

    for parameter in backbone.blocks.middle.parameters():
        parameter.requires_grad_(False)
    parameters = [p for p in (*backbone.parameters(), *head.parameters()) if p.requires_grad]
    groups = [{"params": [p], "weight_decay": 1e-2 if p.ndim > 1 else 0.0} for p in parameters]
    theirs = {
        "adamw": lambda: torch.optim.AdamW(groups, lr=1e-2),
        "adam": lambda: torch.optim.Adam(groups, lr=1e-2),
        "sgd": lambda: torch.optim.SGD(groups, lr=1e-2, momentum=0.9),
    }[optimizer]()
    for epoch in (1, 2):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(7 * 100_003 + epoch))
        for rows in order.split(4):
            outputs = head(backbone(batch_of(some, rows.tolist(), backbone.preprocessing)))
            loss = nn.functional.cross_entropy(outputs, some.targets[rows])
            theirs.zero_grad()
            loss.backward()
            theirs.step()
    for ours, bare in zip(tuned, (backbone, head), strict=False):
        for name, tensor in bare.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], tensor, msg=lambda m, n=name: f"{n}: {m}")


def test_the_same_seed_gives_the_same_weights(images):
    augmentations = (Flip(), Crop())
    first, again, other = (
        tune(images(8), images(4, first=50), augmentations=augmentations, seed=seed)[0].state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_views_change_from_epoch_to_epoch(images, monkeypatch):
    from transfer_core.finetune import inputs

    seen = []

    def load(path, preprocessing, augmentations, rng):
        seen.append(load_augmented_pixels(path, preprocessing, augmentations, rng))
        return seen[-1]

    monkeypatch.setattr(inputs, "load_augmented_pixels", load)
    tune(images(4), images(0), augmentations=(Crop(),), epochs=3)
    assert len(seen) == 12
    assert len({pixels.tobytes() for pixels in seen}) == 12


def test_it_learns(images):
    """Photos of one colour per class, by a backbone that begins at random."""
    some = images(16)
    for path, target in zip(some.dataset.inputs, some.targets.tolist(), strict=True):
        save(path, np.full((20, 20, 3), (200, 30, 30) if target else (30, 30, 200), np.uint8))
    before = loss_on(some, tiny_backbone(), new_head())
    backbone, head, _ = tune(some, some, epochs=20)
    assert loss_on(some, backbone, head) < before / 3


@pytest.mark.parametrize("rate", [1e-2, 3.0])
def test_never_worse_than_before(images, rate):
    valid = images(6, first=50)
    before = loss_on(valid, tiny_backbone(), new_head())
    backbone, head, history = tune(images(8), valid, learning_rate=rate, epochs=4)
    best = min([before, *(entry["validation_loss"] for entry in history)])
    assert loss_on(valid, backbone, head) == pytest.approx(best, rel=1e-5)


def test_a_state_that_nothing_beats_is_given_back_bit_by_bit(images):
    valid = images(4, first=50)
    backbone, head = tiny_backbone(), new_head()
    with torch.no_grad():  # sure of the validation photos' classes, all of them 0
        head[0].bias.copy_(torch.tensor([20.0, -20.0]))
    valid = Examples(valid.dataset, torch.zeros_like(valid.targets), valid.weights)
    before, head_before = state_of(backbone), state_of(head)
    _, _, history = tune(images(8), valid, backbone=backbone, head=head, epochs=9, early_stopping=2)
    assert len(history) == 2
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(torch.equal(tensor, head_before[name]) for name, tensor in head.state_dict().items())


def test_early_stopping_waits_as_long_as_asked(images):
    valid = images(6, first=50)
    *_, patient = tune(images(8), valid, epochs=12, early_stopping=0)
    *_, stopped = tune(images(8), valid, epochs=12, early_stopping=2)
    losses = [entry["validation_loss"] for entry in patient]
    assert len(patient) == 12
    best, waited, expected = loss_on(valid, tiny_backbone(), new_head()), 0, 0
    while waited < 2 and expected < 12:
        best, waited = (losses[expected], 0) if losses[expected] < best else (best, waited + 1)
        expected += 1
    assert stopped == patient[:expected]


@pytest.mark.parametrize(("count", "size"), [(1, 4), (2, 1), (3, 100), (5, 4), (5, 5)])
def test_odd_sizes(images, count, size):
    _, _, history = tune(images(count), images(3, first=50), batch_size=size)
    assert len(history) == 2
    assert all(math.isfinite(entry["loss"]) for entry in history)


def test_without_validation_the_last_state_stays(images):
    *_, history = tune(images(8), images(0), epochs=3, early_stopping=1)
    assert [sorted(entry) for entry in history] == [["epoch", "loss"]] * 3


def test_history(images):
    *_, history = tune(images(8), images(4, first=50), epochs=2)
    assert [entry["epoch"] for entry in history] == [1, 2]
    assert all(sorted(e) == ["accuracy", "epoch", "loss", "validation_loss"] for e in history)


def test_regression(images):
    values = torch.rand(12, 2, generator=torch.Generator().manual_seed(0))
    some = images(12, targets=values)
    backbone, head, history = tune(some, some, head=new_head(outputs=2), epochs=10, criterion=SquaredError())
    with torch.no_grad():
        outputs = head(backbone(batch_of(some, range(12), backbone.preprocessing)))
    error = float((outputs - values).square().mean())
    assert error == pytest.approx(min(entry["validation_loss"] for entry in history), rel=1e-4)
    assert error < history[0]["validation_loss"]
    assert "accuracy" not in history[0]


def test_weights_of_examples(images):
    """Photos of weight 0 might as well not be there, but for the order of the others."""
    some = images(8)
    weights = torch.tensor([1.0, 0.0] * 4)
    _, head, _ = tune(Examples(some.dataset, some.targets, weights), images(0), ["last"], epochs=12)
    assert head[0].bias[0] > new_head()[0].bias[0]  # class 0 alone counts
    assert head[0].bias[1] < new_head()[0].bias[1]


def test_cosine_and_warmup(images, monkeypatch):
    """Rates per step against the formula: up in 2 of 8 steps, then half a cosine."""
    rates = []
    monkeypatch.setattr(
        optimizers.SGD,
        "step",
        lambda self, closure=None, step=optimizers.SGD.step: (
            rates.append(self.param_groups[0]["lr"]),
            step(self, closure),
        ),
    )
    tune(images(8), images(0), epochs=4, optimizer="sgd", schedule="cosine", warmup=0.25, learning_rate=0.1)
    cosine = [0.05 * (1 + math.cos(math.pi * i / 6)) for i in range(6)]
    assert rates == pytest.approx([0.1 / 3, 0.2 / 3, *cosine])


def test_bfloat16(images):
    backbone, head = tiny_backbone(), new_head()
    machine, phase = Machine(CPU, "bfloat16"), Phase(STEP, BLOCKS)
    valid = images(4, first=50)
    history = fine_tune(backbone, head, phase, images(8), valid, (), machine, CrossEntropy(), 0, Progress())
    assert all(math.isfinite(entry["loss"]) for entry in history)
    assert {tensor.dtype for tensor in backbone.parameters()} == {torch.float32}


def test_a_photo_that_vanished_is_named(images, tmp_path):
    some = images(8)
    (tmp_path / "5.png").unlink()
    with pytest.raises(DataError, match=r"5\.png: no such file"):
        tune(some, images(0))


def test_a_rate_that_is_too_high_is_named(images):
    with pytest.raises(RecipeError, match=r"^train: the loss became .*\. Fix: use a lower learning_rate$"):
        tune(images(8), images(0), learning_rate=1e30, optimizer="sgd", epochs=8)


def test_cancelled_in_the_middle(images):
    told = []
    progress = Progress(told.append, lambda: any(event["event"] == "epoch" for event in told))
    with pytest.raises(Cancelled):
        tune(images(8), images(2), progress=progress)
    assert [event["number"] for event in told if event["event"] == "epoch"] == [1]


@pytest.mark.parametrize(("checks", "expected"), [(2, "forward"), (4, "backward")])
def test_a_pass_is_cancelled_between_blocks(checks, expected):
    """A pass of a large network takes many seconds."""
    asked, passed = [], []

    def check():
        asked.append(1)
        if len(asked) == checks:
            raise Cancelled("cancelled")

    network = Tail(tiny_backbone(), new_head(), BLOCKS, 0, check)

    def both_ways():
        passed.append("forward")
        loss = network(torch.zeros(2, 3, 16, 16)).sum()
        passed.append("backward")
        loss.backward()

    with pytest.raises(Cancelled):
        both_ways()
    assert passed[-1] == expected


def test_the_callers_random_state_is_left_alone(images):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    tune(images(8), images(2))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("trainable", [("last",), ("middle",), BLOCKS])
def test_room_on_the_disk_changes_nothing_but_time(images, trainable, monkeypatch):
    from transfer_core.finetune import inputs

    valid = images(4, first=50)
    backbone, head, history = tune(images(10), valid, trainable, epochs=3)
    monkeypatch.setattr(inputs, "keep_on_disk", lambda rows, count: None)
    others = tune(images(10), valid, trainable, epochs=3)
    assert history == others[2]
    for ours, theirs in zip((backbone, head), others, strict=False):
        for name, tensor in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], tensor), name


def test_each_photo_is_decoded_once_where_none_is_changed(images, monkeypatch):
    from transfer_core.finetune import inputs

    decoded = []
    monkeypatch.setattr(inputs, "load_pixels", lambda path, p: decoded.append(path) or load_pixels(path, p))
    some, valid = images(8), images(4, first=50)
    tune(some, valid, ["last"], epochs=3)
    assert sorted(decoded) == sorted([*some.dataset.inputs, *valid.dataset.inputs])


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.randn(x.shape)


class NextTurn(nn.Module):
    """Threads go on in another order every time."""

    def forward(self, x):
        time.sleep(0.005 * random.random())
        return x


@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(0.5), nn.Dropout1d(0.5), nn.AlphaDropout(0.3), nn.FeatureAlphaDropout(0.3), Noise()],
    ids=lambda layer: type(layer).__name__,
)
def test_random_layers_are_the_same_however_threads_take_turns(images, layer):
    some, none = images(9), images(0)

    def tuned():
        head = nn.Sequential(NextTurn(), layer, *new_head())
        return tune(some, none, ["last"], head=head, epochs=3)[1].state_dict()

    first = tuned()
    for _ in range(3):
        assert all(torch.equal(tensor, first[name]) for name, tensor in tuned().items())


@pytest.mark.parametrize(("layer", "pieces"), [(nn.Dropout(0.5), 3), (Noise(), 3 + 2)])
def test_only_what_draws_from_the_generator_of_all_threads_is_computed_twice_and_in_turn(
    images, monkeypatch, two_cores, layer, pieces
):
    seen = []
    usual = CpuExecution._micro_batch

    def micro_batch(self, numbered, **rest):
        seen.append(numbered)
        return usual(self, numbered, **rest)

    monkeypatch.setattr(CpuExecution, "_micro_batch", micro_batch)
    tune(images(6), images(0), ["last"], head=nn.Sequential(layer, *new_head()), epochs=1)
    assert len(seen) == pieces  # a batch of 4 is two, and one of 2 is one


@pytest.fixture
def single_device(monkeypatch):
    """The execution of a GPU, on the CPU."""
    monkeypatch.setattr("transfer_core.finetune.phase.open_execution", single_device_execution)


def warnings_of(events):
    return [event["message"] for event in events if event["event"] == "warning"]


def test_a_single_device_gives_the_weights_of_all_cores(images, request):
    some, valid = images(10), images(4, first=50)
    expected = tune(some, valid)
    request.getfixturevalue("single_device")
    found = tune(some, valid)
    for ours, theirs in zip(found[:2], expected[:2], strict=True):
        for name, tensor in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-4, atol=1e-4)


def test_out_of_memory_in_training(images, monkeypatch, single_device):
    """One image fits, with its activations recomputed."""
    usual, events = Tail.forward, []

    def forward(self, inputs):
        if torch.is_grad_enabled() and (len(inputs) > 1 or not self.activation_checkpointing):
            raise torch.cuda.OutOfMemoryError
        return usual(self, inputs)

    expected = tune(images(8), images(0))[0].state_dict()
    monkeypatch.setattr(Tail, "forward", forward)
    backbone, _, _ = tune(images(8), images(0), progress=Progress(events.append))
    assert warnings_of(events) == [
        "CUDA out of memory: accumulating gradients over micro-batches of 2",
        "CUDA out of memory: accumulating gradients over micro-batches of 1",
        "CUDA out of memory: enabling activation checkpointing",
    ]
    for name, tensor in backbone.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-4)


def test_out_of_memory_before_the_first_epoch(images, monkeypatch, single_device):
    """Validation comes first, and its batches are as large as those of training."""
    usual, events = Tail.forward, []

    def forward(self, inputs):
        if len(inputs) > 1:
            raise torch.cuda.OutOfMemoryError
        return usual(self, inputs)

    some, valid = images(8), images(4, first=50)
    expected = tune(some, valid)[2]
    monkeypatch.setattr(Tail, "forward", forward)
    history = tune(some, valid, progress=Progress(events.append))[2]
    assert warnings_of(events) == [
        "CUDA out of memory: accumulating gradients over micro-batches of 2",
        "CUDA out of memory: accumulating gradients over micro-batches of 1",
    ]
    assert [entry.keys() for entry in history] == [entry.keys() for entry in expected]
    for ours, theirs in zip(history, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


def test_out_of_memory_with_every_remedy_in_effect_is_an_error(images, monkeypatch, single_device):
    def forward(self, inputs):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(Tail, "forward", forward)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        tune(images(4), images(0))


def test_blocks_further_from_the_head_learn_slower(images, monkeypatch):
    rates = {}
    usual = optimizers.SGD.step

    def step(self, closure=None):
        rates.update({id(p): group["lr"] for group in self.param_groups for p in group["params"]})
        return usual(self, closure)

    monkeypatch.setattr(optimizers.SGD, "step", step)
    backbone, head, _ = tune(images(8), images(0), optimizer="sgd", layer_decay=0.5)
    for part, expected in zip((head, *reversed(backbone.blocks)), (1, 0.5, 0.25, 0.125), strict=True):
        found = [rates[id(p)] for p in part.parameters()]
        assert found == pytest.approx([1e-2 * expected] * len(found))


@pytest.mark.parametrize("factor", [1.0, 200.0])
def test_float16_scales_the_loss_until_gradients_are_finite(images, monkeypatch, factor):
    """The execution of a GPU, on the CPU; a loss times 200 overflows with the first scale."""
    backbone, head = tiny_backbone(), new_head()
    tail = Tail(backbone, head, BLOCKS, 0)
    some = images(8)
    pixels = to_batch([load_pixels(path, backbone.preprocessing) for path in some.dataset.inputs])
    batch = Batch(pixels, some.targets, some.weights)

    def loss(outputs, targets, weights):
        return factor * loss_of(CROSS_ENTROPY)(outputs, targets, weights)

    gradients, scales = [], []
    usual = SingleDeviceExecution._unscale_gradients
    monkeypatch.setattr(
        SingleDeviceExecution,
        "_unscale_gradients",
        lambda self, scale: scales.append(scale) or usual(self, scale),
    )
    for dtype in (torch.float32, torch.float16):
        with single_device_execution(tail, CPU, dtype, 8, Progress()) as execution:
            execution.backward(batch, loss)
        gradients.append(torch.cat([p.grad.flatten() for p in tail.parameters()]))
    exact, halved = gradients
    assert torch.isfinite(halved).all()
    assert (exact - halved).norm() < 0.02 * exact.norm()
    assert scales[0] == 4096
    assert (len(scales) > 1) == (factor > 1)
