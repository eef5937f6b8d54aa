"""What families of rows share: judges, observations, catalogues."""
