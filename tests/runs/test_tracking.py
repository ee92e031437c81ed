"""What TensorBoard finds in a run."""

import numpy as np
import pytest
import torch

from aectl.runs.tracking import Tracker


@pytest.mark.parametrize("latent", [1, 2, 3, 5])
def test_the_projector_gets_the_three_columns_that_its_pca_needs(tmp_path, latent):
    codes = torch.randn(12, latent, generator=torch.Generator().manual_seed(0))
    tracker = Tracker(tmp_path)
    tracker.embedding(codes, torch.arange(12), torch.rand(12, 1, 4, 4), 7)
    tracker.close()
    (path,) = tmp_path.glob("*/codes/tensors.tsv")
    found = np.loadtxt(path, delimiter="\t")
    assert found.shape == (12, max(3, latent))
    np.testing.assert_allclose(found[:, :latent], codes.numpy(), rtol=1e-6)
    assert not found[:, latent:].any()
    assert "codes" in (tmp_path / "projector_config.pbtxt").read_text()
