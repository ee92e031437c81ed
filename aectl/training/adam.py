"""Adam on the parameters of a model, as one call a step: its state is made at the start and changed in place."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from aectl.runs.schema import AdamConfig

STATE = ("step", "exp_avg", "exp_avg_sq")


class Adam:
    """Adam (Kingma & Ba, 2015), or where weights decay AdamW (Loshchilov & Hutter, 2019), which no bias has.

    The arithmetic is PyTorch's. `torch.optim.Adam` around it looks at every parameter anew in each step, which a
    small model on a CPU notices, and makes its state only in the first, which is too late for a recorded one.

    Args:
        parameters: by name; all on one device.
        settings: decay rates, eps, weight decay.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], settings: AdamConfig):
        self.parameters = dict(parameters)
        self.settings = settings
        device = next(iter(self.parameters.values())).device
        self.fused = device.type != "mps"  # one kernel for all parameters, on CPU and CUDA alike
        self.capturable = device.type == "cuda"
        self.waits = device.type == "cuda"  # reading a number makes the host wait for the device
        counters = device if self.fused else "cpu"
        self.held = torch.zeros((), device=device)  # steps that were not made, because something was not finite
        self.state = {
            name: {
                "step": torch.zeros((), device=counters),
                "exp_avg": torch.zeros_like(parameter, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
            }
            for name, parameter in self.parameters.items()
        }
        decaying = [name for name, one in self.parameters.items() if settings.weight_decay and one.dim() > 1]
        steady = [name for name in self.parameters if name not in decaying]
        self._groups = [
            self._group(names, decay) for names, decay in ((steady, 0.0), (decaying, settings.weight_decay)) if names
        ]

    def _group(self, names: list[str], weight_decay: float) -> tuple[list[nn.Parameter], list[list[Tensor]], float]:
        states = [[self.state[name][key] for name in names] for key in ("exp_avg", "exp_avg_sq", "step")]
        return [self.parameters[name] for name in names], states, weight_decay

    def take_over(self, others: Sequence["Adam"]) -> None:
        """Make the steps of several from now on, whose parameters lie in stacks, ours; all have made as many.

        What is known of them lies in stacks, too, and theirs are views of it.
        """
        for name, state in self.state.items():
            state["step"].copy_(others[0].state[name]["step"])
            for key in ("exp_avg", "exp_avg_sq"):
                torch.stack([one.state[name][key] for one in others], out=state[key])
        for place, one in enumerate(others):
            one.state = {
                name: {key: value if key == "step" else value[place] for key, value in state.items()}
                for name, state in self.state.items()
            }
            one._groups = []

    @torch.no_grad()
    def step(self, lr: float | Tensor, found_inf: Tensor | None = None) -> None:
        """Move every parameter by its `.grad`; none, and no state, where `found_inf` is 1 instead of 0."""
        if found_inf is not None:
            self.held += found_inf
        for parameters, (exp_avg, exp_avg_sq, steps), weight_decay in self._groups:
            adam(
                parameters, [parameter.grad for parameter in parameters], exp_avg, exp_avg_sq, [], steps,
                fused=self.fused, capturable=self.capturable, found_inf=found_inf, amsgrad=False, maximize=False,
                beta1=self.settings.beta1, beta2=self.settings.beta2, lr=lr, eps=self.settings.eps,
                weight_decay=weight_decay, decoupled_weight_decay=weight_decay > 0,
            )  # fmt: skip
