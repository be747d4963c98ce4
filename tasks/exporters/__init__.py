"""Writers of the export formats: one module per format, dispatched by `tasks.export`."""
