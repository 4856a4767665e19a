"""The catalog derived from the stored records: rows, tables, history, audit, gallery page, contact sheet."""
