"""The search: what a trial may choose, the study that remembers, the driver that asks, the executor that trains."""
