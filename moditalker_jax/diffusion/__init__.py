"""Schedules, the forward process, losses, guidance and samplers: pure functions on pytrees."""
