"""The command line: parses, calls the library, formats. A Python user can do without it whatever it does."""
