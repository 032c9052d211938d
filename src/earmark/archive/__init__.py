"""Archives: folders of recordings -> tables in Parquet finished whatever stops the work."""
