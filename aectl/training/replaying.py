"""A function of tensors, recorded once for each of its inputs' shapes and then replayed as a CUDA graph.

A small model's step on a GPU is a hundred kernels of a few microseconds each, and Python takes longer to start them
than they take to run. Replayed, they follow each other without it.
"""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

WARM = 3  # calls that are made as they are before one is recorded; libraries set themselves up in them

Input = Tensor | float | None


class Replayed:
    """`function`, whose inputs are copied to where its recording reads them.

    Its tensors must all be on `device`, it must read none of them on the host, and draw nothing. What it returns is
    overwritten by the next call. On another device than CUDA it is called with those same copies instead.
    """

    def __init__(self, function: Callable[..., Tensor], device: torch.device):
        self.function = function
        self.device = device
        self._calls: Counter[tuple] = Counter()
        self._recordings: dict[tuple, _Recording] = {}

    def __call__(self, *inputs: Input) -> Tensor:
        """The function's value at `inputs`; floats reach it as scalars on the device."""
        shapes = tuple(one.shape if isinstance(one, Tensor) else None for one in inputs)
        self._calls[shapes] += 1
        if self._calls[shapes] <= WARM:
            return self._aside(inputs)
        if shapes not in self._recordings:
            self._recordings[shapes] = _Recording(self.function, inputs, self.device)
        return self._recordings[shapes](inputs)

    def _aside(self, inputs: tuple[Input, ...]) -> Tensor:
        """The function called as it is; with CUDA on a stream of its own, as recording wants it."""
        scalars = tuple(_copied(one, self.device) if isinstance(one, float) else one for one in inputs)
        if self.device.type != "cuda":
            return self.function(*scalars)
        main, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            value = self.function(*scalars)
        main.wait_stream(side)
        return value


class _Recording:
    def __init__(self, function: Callable[..., Tensor], inputs: tuple[Input, ...], device: torch.device):
        self.inputs = [_copied(one, device) for one in inputs]
        self.graph = None
        if device.type == "cuda":
            self.graph = torch.cuda.CUDAGraph()
            # Another thread may be fetching batches meanwhile, and is no business of this recording.
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.value = function(*self.inputs)
        else:
            self.again = lambda: function(*self.inputs)

    def __call__(self, inputs: tuple[Input, ...]) -> Tensor:
        for place, one in zip(self.inputs, inputs, strict=True):
            if isinstance(one, Tensor):
                place.copy_(one)
            elif one is not None:
                place.fill_(one)
        if self.graph is None:
            return self.again()
        self.graph.replay()
        return self.value


def _copied(one: Input, device: torch.device) -> Tensor | None:
    if one is None:
        return None
    return one.clone() if isinstance(one, Tensor) else torch.tensor(one, dtype=torch.float32, device=device)
