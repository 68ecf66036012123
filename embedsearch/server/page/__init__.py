"""The page: what people see of an index in a browser. Rendered here; JavaScript makes it faster, not possible."""
