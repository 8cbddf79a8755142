"""Training: one step, the programs of epochs, `fit`, and run folders."""
