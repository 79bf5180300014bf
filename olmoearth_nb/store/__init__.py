"""The only room that knows where files of a scratch folder lie."""
