"""Commands that measure: generated videos against real ones, speakers never seen, held-out
synthetic speech.
"""
