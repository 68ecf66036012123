"""The causal objective: predict the next token, as AstroLLaMA was made."""
