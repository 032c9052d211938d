"""Archives: folders of recordings -> tables in Parquet that are finished whatever stops the work."""
