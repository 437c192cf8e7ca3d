"""The scikit-learn pipelines and how they are fitted."""
