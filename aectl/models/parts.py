"""What of a trained model other programs can have: its functions, each as a module with its own weights."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

Result = Tensor | tuple[Tensor, ...]


class Part(nn.Module):
    """A function of one tensor, with the modules whose weights it needs and no others.

    The weights have the names that they have in the whole model.

    Args:
        function: from the tensor `takes` to the tensors `gives`, alone or as a tuple; N comes first in each.
        takes: `x` and `x_noisy` are pictures, (N, C, H, W); `z` is a code, (N, K).
        multiple: what both sides of a picture must be divisible by; None where they must be those of training.
        modules: what the function uses, by its name in the model.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Result],
        takes: str,
        gives: Sequence[str],
        multiple: int | None = None,
        **modules: nn.Module,
    ):
        super().__init__()
        self.function = function
        self.takes = takes
        self.gives = tuple(gives)
        self.multiple = multiple
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Result:
        """What the function gives."""
        return self.function(x)


def tensors(result: Result) -> tuple[Tensor, ...]:
    """What a part gives as a tuple, also where it is one tensor."""
    return (result,) if isinstance(result, Tensor) else tuple(result)
