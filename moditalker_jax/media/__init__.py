"""Reading and writing video, audio and pictures (PyAV)."""
