"""Priors p(z), and how far a posterior is from one. N(0, I) is written here and nowhere else."""

from torch import Tensor


def kl_to_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) for each latent: ½(σ² + μ² − 1 − log σ²), (N, K) twice → (N, K), in nats, ≥ 0.

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014, appendix B.
    """
    return 0.5 * (logvar.exp() + mu.square() - 1 - logvar)
