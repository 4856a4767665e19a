"""What is derived from the store: rows, tables, history, audit, gallery, contact sheet. Knows nothing of Dagster."""
