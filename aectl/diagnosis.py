"""Plain sentences about what an evaluation's figures show."""

from typing import Any

from aectl.runs import Run


def diagnose(run: Run, found: dict[str, Any]) -> list[str]:
    """The sentences for the figures `found` of `run`, under the names that `metrics.json` gives them."""
    said = []
    latent = run.config.latent
    if run.model.has_code and (active := found["active_units"]) < latent:
        cause = "lower kl_weight or set kl_warmup" if run.model.has_prior else "they are constant; lower latent"
        said.append(f"{latent - active} of {latent} latents are collapsed, they hardly depend on the image: {cause}.")
    if found["mse"] > 0.95 * found["mean_image_mse"]:
        said.append("The reconstructions are no better than the mean image: the code is not being used yet.")
    elif run.config.noise.name == "none" and run.model.has_code:
        ratio = found["mse"] / found["pca_mse"]
        if ratio < 1:
            said.append(f"Its error is {1 - ratio:.0%} below that of PCA with {latent} components.")
        else:
            said.append(f"Its error is {ratio - 1:.0%} above that of PCA with {latent} components: train longer.")
    if run.model.has_code and not run.model.has_prior:
        said.append(
            "An autoencoder has no prior: codes drawn from N(0, I) decode to arbitrary images (prior_samples.png); "
            "`aectl sample` draws from a Gaussian mixture fitted to its codes instead."
        )
    floor = found.get("recon_floor")
    if floor:
        gap = found["recon"] - floor
        said.append(
            f"Grey pixels have an entropy of {floor:.2f} nats per image, a floor of this grey BCE; the "
            f"reconstruction is {gap:.2f} nats above it{', about as low as it can be' if gap < 0.02 * floor else ''}."
        )
    if "nll" in found and run.config.likelihood.name != "bernoulli":
        said.append(
            f"Its NLL is that of a density over {run.model.likelihood.support} for each pixel: compare it with the "
            "same likelihood only, never with a Bernoulli's."
        )
    if "psnr_denoised" in found:
        gain = found["psnr_denoised"] - found["psnr_noisy"]
        against = found["psnr_denoised"] - found["psnr_median"]
        said.append(f"Denoising gains {gain:+.2f} dB over the noisy images and {against:+.2f} dB over a 3×3 median.")
    return said
