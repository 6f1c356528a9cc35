"""Puppets: still portraits that are made to talk by the motion of recordings, without a network."""
