"""Write the report of a run: one HTML file without links to other files, for people who decide about the model."""
