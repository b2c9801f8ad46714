"""The REST methods of a portal, by family. Importing `catalog` fills the table; what is not there does not exist."""
