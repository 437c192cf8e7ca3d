"""Score the exported file and write the model card."""
