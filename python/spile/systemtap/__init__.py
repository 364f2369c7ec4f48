"""The SystemTap engine: a script from the spec, a `stap` that runs it, its binary stream read back."""
