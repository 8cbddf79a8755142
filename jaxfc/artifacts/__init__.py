"""What training leaves behind: checkpoints, models, ensembles, all as safetensors."""
