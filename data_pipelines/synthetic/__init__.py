"""Generated talking heads: speech, faces and exact landmarks, with nothing to download."""
