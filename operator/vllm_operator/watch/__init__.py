"""kopf: watching, login and lifecycle. Handlers only store and enqueue."""
