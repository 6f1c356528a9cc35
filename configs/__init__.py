"""Settings of the four stages; each file takes a variant after a colon: paper, demo, finetune or tiny."""
