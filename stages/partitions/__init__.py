"""Spread work over this process, several, or a Dask cluster: pure functions on partitions, with the same bytes."""
