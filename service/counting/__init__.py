"""Counters that add up over worker processes, and outlive them. What is counted stands with whoever counts."""
