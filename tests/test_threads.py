"""How many threads torch uses."""

import torch

from transfer_core.devices import WORTH_SHARING, as_many_threads_as_pay


def test_a_step_that_is_too_small_to_share_has_one_thread():
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with as_many_threads_as_pay(WORTH_SHARING - 1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with as_many_threads_as_pay(WORTH_SHARING):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(usual)
