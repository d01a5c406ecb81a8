"""NATS JetStream: the embedded server, the mail of a cell, feeds, key-value documents, lease and hints."""
