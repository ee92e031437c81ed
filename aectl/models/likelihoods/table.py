"""The likelihoods that `likelihood=` takes."""

from aectl.models.likelihoods.base import LikelihoodChoice
from aectl.models.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.likelihoods.logistic import Logistic256
from aectl.settings.choices import Table

LIKELIHOODS = Table(
    LikelihoodChoice,
    Bernoulli,
    ContinuousBernoulli,
    Gaussian,
    Logistic256,
    formerly={"learn": False, "mean": "identity"},
)
