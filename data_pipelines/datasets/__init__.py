"""Published data sets of talking faces: where their videos, speakers and splits stand on disk."""
