"""Settings of the stages; each file takes a variant: paper, demo, finetune or tiny."""
