"""Any forward pass as links with one tensor between them."""

import torch
from torch import nn
from torch.nn import functional

from transfer_core.backbones.traced_chain import chain_of

IMAGES = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Four layers, and a forward pass of the test's own."""

    def __init__(self, steps):
        super().__init__()
        self.first, self.second, self.third, self.fourth = (nn.Linear(4, 4) for _ in range(4))
        self.shift = nn.Parameter(torch.randn(4))
        self.register_buffer("table", torch.arange(4.0), persistent=False)
        self.steps = steps


def links_of(steps, network=None, example=IMAGES, looks_into=lambda module: False):
    """What each link calls; that together they do the same is checked for other numbers of images, too."""
    network = (network or Net(steps)).eval()
    links = chain_of(network, steps, example, looks_into)
    for count in (1, 2, 5):
        images = torch.randn(count, *example.shape[1:])
        found = images
        for link in links:
            found = link.module(found)
        torch.testing.assert_close(found, steps(network, images), rtol=0, atol=0)
    return [link.paths for link in links]


def test_a_chain_of_modules_is_those_modules():
    def steps(net, x):
        return net.second(net.first(x))

    assert links_of(steps) == [("first",), ("second",)]
    network = Net(steps).eval()
    assert chain_of(network, steps, IMAGES, lambda _: False)[0].module is network.first


def test_what_runs_beside_each_other_is_one_link():
    def steps(net, x):
        x = net.first(x)
        x = x + net.second(torch.relu(net.third(x)))
        return net.fourth(x)

    assert [paths for paths in links_of(steps) if paths] == [("first",), ("third", "second"), ("fourth",)]


def test_a_parameter_is_never_in_two_links():
    def twice(net, x):
        return net.second(net.first(net.third(net.first(x))))

    assert links_of(twice) == [("first", "third", "first"), ("second",)]

    def shifted(net, x):
        return net.second(net.first(x) + net.shift) * net.shift

    assert links_of(shifted) == [("first",), ("second",)]
    links = chain_of(Net(shifted).eval(), shifted, IMAGES, lambda _: False)
    assert ["shift" in dict(link.module.named_parameters()) for link in links] == [False, True]


def test_the_number_of_images_stays_open_and_all_other_sizes_are_numbers():
    def steps(net, x):
        count, width = x.shape
        if width % 2:  # a question that torch.fx alone could not answer
            raise AssertionError
        x = net.first(x).reshape(count, 2, width // 2)
        x = x + torch.arange(width // 2, dtype=x.dtype)  # a constant, whatever it is computed from
        return net.second(x.reshape(count, width))

    assert [paths for paths in links_of(steps) if paths] == [("first",), ("second",)]


def test_constants_are_not_saved():
    def steps(net, x):
        return net.second(net.first(x) * net.table)

    network = Net(steps).eval()
    links = chain_of(network, steps, IMAGES, lambda _: False)
    saved = {name for link in links for name in link.module.state_dict()}
    assert not [name for name in saved if "table" in name or "constant" in name]


class Sorts(nn.Module):
    """Asks for the values of a tensor, which torch.fx can't tell."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        return self.layers(x) if x.sum() > 0 else self.layers(-x)


def test_a_module_that_can_not_be_followed_is_taken_whole():
    def steps(net, x):
        return net.fourth(net.second(net.first(x)))

    network = Net(steps)
    network.second = Sorts()
    assert links_of(steps, network, looks_into=lambda m: isinstance(m, Sorts | nn.Sequential)) == [
        ("first",),
        ("second",),
        ("fourth",),
    ]


class Branches(nn.Module):
    """Changes the list that it is given."""

    def forward(self, parts):
        parts[0] = functional.relu(parts[0])
        return parts[0] + parts[1]


def test_a_module_may_change_its_input():
    def steps(net, x):
        x = net.first(x)
        return net.second(net.branches([net.third(x), net.fourth(x)]))

    network = Net(steps)
    network.branches = Branches()
    assert links_of(steps, network) == [("first",), ("third", "fourth", "branches"), ("second",)]


def test_a_pair_of_a_tensor_and_its_size_may_be_handed_on():
    class Embeds(nn.Module):
        def forward(self, x):
            return x.flatten(2).transpose(1, 2), x.shape[2:]

    def steps(net, x):
        x, (height, width) = net.embeds(x)
        x = net.first(x)
        x = x.transpose(1, 2).reshape(x.shape[0], 4, height, width)
        return net.second(x.mean((2, 3)))

    network = Net(steps)
    network.embeds = Embeds()
    paths = links_of(steps, network, torch.randn(2, 4, 3, 5))
    assert [called for called in paths if called] == [("embeds",), ("first",), ("second",)]
