"""All pairs of papers in one or more embedding spaces: counts, moments, errors, and where spaces disagree."""
