import torch

from aectl.training.replaying import WARM, Replayed

CPU = torch.device("cpu")


def test_it_is_the_function_at_every_call_and_for_every_shape():
    seen = []

    def function(x, eps, scale):
        seen.append(x)
        return (x * scale).sum() + (0 if eps is None else eps.sum())

    replayed = Replayed(function, CPU)
    for call in range(3 * WARM):
        for n in (4, 3):
            x, eps = torch.full((n, 2), float(call)), torch.ones(1, n) if n == 4 else None
            assert replayed(x, eps, 0.5 + call) == call * 2 * n * (0.5 + call) + (4 if n == 4 else 0)
    places = {n: {x.data_ptr() for x in seen[2 * WARM :] if len(x) == n} for n in (4, 3)}
    assert all(len(place) == 1 for place in places.values()), "recorded, each shape reads at one place"
    assert places[4] != places[3]
