"""The reconcile loop: work queue, workers, resync."""
