"""Configuration of Prometheus, Alertmanager and Grafana, written by code and tested like code."""
