"""The estimator, by scikit-learn's own checks and beside the run that the same words make."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import aectl
from aectl.sklearn import Autoencoder

pytestmark = pytest.mark.usefixtures("without_pictures")

X, Y = load_digits(return_X_y=True)
X = X[:300] / 16
IMAGES = X.reshape(-1, 8, 8)


@parametrize_with_checks([Autoencoder(epochs=1, latent=1, words=("network.hidden=[4]",))])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def fitted():
    return Autoencoder("vae", latent=2, epochs=2).fit(X)


def test_it_is_the_run_that_the_same_words_make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", IMAGES)
    seed = int(np.random.RandomState(4).randint(2**31))
    run = aectl.train(
        "model=vae", "latent=3", "epochs=2", "network.hidden=[20]", "dataset=array", "dataset.root=x.npy",
        "dataset.val_size=0", "dataset.test_size=0", f"seed={seed}", "device=cpu", "threads=1", "figures_every=0",
    )  # fmt: skip
    mine = Autoencoder("vae", latent=3, epochs=2, words=["network.hidden=[20]"], random_state=4).fit(X)
    np.testing.assert_allclose(mine.transform(X), run.encode(IMAGES), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mine.score_samples(X), -run.score(IMAGES, "elbo"), rtol=1e-5)


def test_images_come_back_as_they_were_given():
    for given in (X, IMAGES, IMAGES[:, None], IMAGES[..., None].repeat(3, 3), (IMAGES * 255).astype(np.uint8)):
        model = Autoencoder("ae", latent=2, epochs=1, words=("network.hidden=[6]",)).fit(given)
        back = model.inverse_transform(model.transform(given))
        assert back.shape == given.shape
        assert model.sample(3).shape == (3, *given.shape[1:])
        assert abs(back.mean() - given.mean()) < 0.35 * given.max()  # on its scale


def test_the_least_and_the_most_of_the_training_data_are_black_and_white():
    shifted = Autoencoder(epochs=1).fit(X * 7 - 3)
    assert shifted.limits_ == (-3.0, 4.0)
    plain = Autoencoder(epochs=1).fit(X)
    np.testing.assert_allclose(shifted.transform(X * 7 - 3), plain.transform(X), atol=1e-3)
    np.testing.assert_allclose(
        shifted.inverse_transform([[0, 0]]), plain.inverse_transform([[0, 0]]) * 7 - 3, atol=0.01
    )
    with pytest.raises(ValueError, match="X has values beyond them"):
        Autoencoder(limits=(0, 0.5)).fit(X)
    for limits in ((1, 0), (0, 0), (0, 1, 2), (0, np.inf), (np.nan, 1)):
        with pytest.raises(ValueError, match=r"give \(black, white\), two numbers of which white is the larger"):
            Autoencoder(limits=limits).fit(X)


def test_it_pickles_by_its_weights_and_clones(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
    assert len(pickle.dumps(fitted)) < len(fitted.weights_) + 5000
    assert clone(fitted).get_params() == fitted.get_params()
    assert list(fitted.get_feature_names_out()) == ["autoencoder0", "autoencoder1"]


def test_in_a_pipeline_and_a_grid_search():
    model = Autoencoder(latent=8, epochs=8, lr=3e-3)
    pipeline = make_pipeline(model, LogisticRegression(max_iter=1000)).fit(X, Y[:300])
    assert pipeline.score(X, Y[:300]) > 0.5  # of ten classes
    search = GridSearchCV(Autoencoder(epochs=1), {"latent": [1, 2], "model": ["ae", "vae"]}, cv=2).fit(X)
    assert set(search.best_params_) == {"latent", "model"}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_what_cannot_be_used():
    with pytest.raises(ValueError, match=r"give \(N, D\), \(N, H, W\)"):
        Autoencoder().fit(np.zeros((5, 7, 7, 4)))
    with pytest.raises(ValueError, match=r"image_shape=\(1, 5, 5\): X has 64 features"):
        Autoencoder(image_shape=(1, 5, 5)).fit(X)
    with pytest.raises(ValueError, match="model=vea"):
        Autoencoder("vea").fit(X)
