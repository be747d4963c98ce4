"""The tables: Arrow schemas, Parquet layout, snapshots and SQL. Knows nothing of torch or Prefect."""
