"""The reconcile loop: work queue and workers."""
