"""AToM: audio to landmark motion (paper section 4.2, table 3).

python train.py --config=configs/atom.py:demo --workdir=runs/demo/atom

paper  width 512, 8 layers, 48.49 M parameters, batch 64, 300k iterations, Adan lr 1e-4.
demo   width 128, 2 layers, for 2 CPU cores. Three
       options that the authors' network does not have let it learn in minutes: keys that stand
       at their time, a bias towards the sound of the same moment, a residual around the merge.
small_data  the demo's size, for some minutes of many people.
strangers   the same for few people in many voices: what the shipped checkpoint was made with.
tiny   seconds: for tests.

At full size a training step is 4.7 TFLOP and XLA plans 28 GiB for it on one CPU device in float32
(`python -m moditalker_jax.training.cost --stage atom`). As arithmetic, not measured: 300,000 steps
x 4.72e12 / (989e12 x 0.35) = 1.1 hours on one H100 and 0.14 on eight, in bfloat16 at 35 % of their
peak: lower bounds.
"""

from configs.common import choose, data


def paper() -> dict:
    """The paper's sizes."""
    return {
        "stage": "atom",
        "model": {
            "num_frames": 156,
            "width": 512,
            "mlp_width": 1024,
            "num_layers": 8,
            "num_heads": 8,
            "dropout_rate": 0.1,
            "remat": False,
            "scan_layers": False,
            "dtype": "float32",
        },
        "data": data("paper"),
        "diffusion": {"schedule": "cosine", "prediction_type": "x0", "cond_drop_rate": 0.25},
        "sampling": {"num_sampling_steps": 50, "eta": 1.0, "guidance_scale": 2.0},
        "loss": {"reconstruction": 7.5, "velocity": 1.5},
        "optimizer": {
            "name": "adan",
            "learning_rate": 1e-4,
            "betas": (0.02, 0.08, 0.01),
            "weight_decay": 0.02,
        },
        "training": {
            "batch_size": 64,
            "num_steps": 300_000,
            "ema": "constant",
            "ema_decay": 0.9999,
            "evaluate_every": 5_000,
            "checkpoint_every": 5_000,
        },
    }


def demo() -> dict:
    """Width 128, for 2 CPU cores."""
    config = paper()
    config["model"] |= {
        "width": 128,
        "mlp_width": 256,
        "num_layers": 2,
        "num_heads": 4,
        "dropout_rate": 0.0,
        "memory_positions": "time",
        "alignment_bias": True,
        "merge_residual": True,
    }
    config["data"] = data("demo")
    config["diffusion"]["cond_drop_rate"] = 0.1
    config["sampling"]["guidance_scale"] = 1.0
    config["optimizer"] |= {
        "name": "adamw",
        "betas": (0.9, 0.99),
        "learning_rate": 1.5e-3,
        "warmup_steps": 50,
        "decay": "cosine",
        "clip_norm": 1.0,
    }
    config["training"] = {
        "batch_size": 8,
        "num_steps": 1_200,
        "ema": "warmup",
        "ema_decay": 0.995,
        "log_every": 50,
        "evaluate_every": 400,
        "checkpoint_every": 200,
    }
    return config


def small_data() -> dict:
    """The demo's size, for some minutes of many people, which it must not come to know by heart.

    A frame hears two frames to either side, as a regression would, from noisy and mixed features.
    Such sound weighs little beside x_t, and over many sampling steps the network would come to
    follow what it made up itself: it samples in one. It does best from a network that learned
    synthetic heads with these settings: see the README's table of people that training never saw.
    """
    config = demo()
    config["model"] |= {"dropout_rate": 0.2, "attention_span": 2}
    config["data"]["mirror"] = True
    config["diffusion"]["residual"] = False
    config["sampling"]["num_sampling_steps"] = 1
    config["loss"] |= {
        "velocity": 10.0,
        "motion": 60.0,
        "audio_noise": 1.5,
        "reference_noise": 0.05,
        "mixup": 0.4,
    }
    config["optimizer"] |= {"learning_rate": 8e-4, "warmup_steps": 20, "decay": "none"}
    config["training"] |= {
        "num_steps": 160,
        "ema_decay": 0.97,
        "log_every": 20,
        "evaluate_every": 80,
        "checkpoint_every": 80,
    }
    return config


def strangers() -> dict:
    """`small_data` for hours of few people in many voices and faces: what the checkpoint ships."""
    config = small_data()
    config["data"]["directory"] = "data/voices"
    config["optimizer"] |= {"learning_rate": 1.5e-3, "warmup_steps": 50, "decay": "cosine"}
    config["training"] |= {
        "num_steps": 1_500,
        "ema_decay": 0.995,
        "log_every": 50,
        "evaluate_every": 500,
        "checkpoint_every": 200,
    }
    return config


def finetune() -> dict:
    """For some seconds of one person, started from the checkpoint that ships."""
    config = strangers()
    config["optimizer"] |= {"learning_rate": 3e-4, "warmup_steps": 20}
    config["training"] |= {"num_steps": 300, "evaluate_every": 150}
    return config


def tiny() -> dict:
    """Twelve frames, for tests."""
    config = demo()
    config["model"] |= {
        "num_frames": 12,
        "width": 16,
        "mlp_width": 16,
        "num_layers": 2,
        "num_heads": 2,
    }
    config["sampling"]["num_sampling_steps"] = 4
    config["training"] |= {"batch_size": 2, "num_steps": 4, "evaluate_every": 4, "log_every": 2}
    return config


def get_config(variant: str = "paper"):
    """Settings of one variant."""
    variants = (paper, demo, small_data, strangers, finetune, tiny)
    return choose({build.__name__: build for build in variants}, variant)
