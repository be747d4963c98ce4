"""The formats annotated documents are written in: one module each, dispatched by `tasks.export`."""
