"""Pretrained speech encoders, jitted, behind the interface of `audio_features.AudioEncoder`."""
