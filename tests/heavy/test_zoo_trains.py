"""The WideResNet trains in a grid, as its smaller relatives do in the gate."""

import test_zoo


def test_a_grid_over_decay_trains_in_one_program():
    test_zoo.test_a_grid_over_decay_trains_in_one_program("wrn")
