"""The RGB tri-plane autoencoder (paper section 4.3, table 4).

python train.py --config=configs/autoencoder.py:demo --workdir=runs/demo/autoencoder

paper  256x256, 62.06 M parameters, batch 4, 400k iterations; L1, then LPIPS.
demo   128x128, for 2 CPU cores: what the shipped checkpoint was made with.
tiny   32x32, seconds: for tests.

At full size a training step is 31.4 TFLOP, counted before XLA optimises, and leaves 124 GiB in
float32 for the backward pass: `--config.model.remat`, bfloat16, `accumulate_steps` or several
devices are for that. As arithmetic, not measured: 400,000 steps x 3.14e13 / (989e12 x 0.35) = 10.1
hours on one H100 in bfloat16 at 35 % of its peak and 1.3 on eight, lower bounds
(`python -m moditalker_jax.training.cost --stage autoencoder` counts what XLA compiles).
"""

from configs.common import choose, data


def paper() -> dict:
    """The paper's sizes."""
    return {
        "stage": "autoencoder",
        "model": {
            "resolution": 256,
            "num_frames": 16,
            "patch_size": 8,
            "width": 384,
            "depth": 8,
            "num_heads": 8,
            "head_width": 64,
            "projection_depth": 4,
            "projection_heads": 4,
            "projection_mlp_width": 512,
            "latent_channels": 4,
            "remat": False,
            "scan_layers": False,
            "dtype": "float32",
        },
        "data": data("paper"),
        "loss": {"l1": 1.0, "perceptual": 1.0, "perceptual_start": 200_000},
        "optimizer": {
            "name": "adamw",
            "learning_rate": 4e-4,
            "betas": (0.5, 0.9),
            "weight_decay": 0.01,
        },
        "training": {
            "batch_size": 4,
            "num_steps": 400_000,
            "ema": "none",
            "evaluate_every": 5_000,
            "checkpoint_every": 5_000,
        },
    }


def demo() -> dict:
    """128x128, for 2 CPU cores."""
    config = paper()
    config["model"] |= {
        "resolution": 128,
        "width": 128,
        "depth": 2,
        "num_heads": 4,
        "head_width": 32,
        "projection_depth": 1,
        "projection_mlp_width": 256,
        "latent_channels": 16,
        "mean_residual": True,
        "linear_pixels": True,
    }
    config["initialization"] = "principal_components"
    config["data"] = data("demo") | {"max_frame_stride": 4, "mirror": True}
    config["loss"] = {
        "l1": 0.0,
        "l2": 8.0,
        "motion": 16.0,
        "mouth": 8.0,
        "perceptual": 0.0,
        "latent_range": 0.1,
        "latent_noise": 0.02,
    }
    config["optimizer"] |= {
        "learning_rate": 8e-4,
        "betas": (0.9, 0.99),
        "warmup_steps": 50,
        "decay": "cosine",
        "clip_norm": 1.0,
    }
    config["training"] = {
        "batch_size": 1,
        "num_steps": 1_350,
        "ema": "warmup",
        "ema_decay": 0.99,
        "log_every": 50,
        "evaluate_every": 450,
        "checkpoint_every": 250,
    }
    return config


def finetune() -> dict:
    """The demo's size, for some seconds of one person, started from the demo checkpoint."""
    config = demo()
    config["optimizer"] |= {"learning_rate": 3e-4, "warmup_steps": 20}
    config["training"] |= {"num_steps": 600, "evaluate_every": 300}
    return config


def tiny() -> dict:
    """32x32, for tests."""
    config = demo()
    config["model"] |= {
        "resolution": 32,
        "width": 16,
        "depth": 1,
        "num_heads": 2,
        "head_width": 8,
        "projection_heads": 2,
        "projection_mlp_width": 16,
    }
    config["training"] |= {"batch_size": 2, "num_steps": 4, "evaluate_every": 4, "log_every": 2}
    return config


def get_config(variant: str = "paper"):
    """Settings of one variant."""
    return choose({"paper": paper, "demo": demo, "finetune": finetune, "tiny": tiny}, variant)
