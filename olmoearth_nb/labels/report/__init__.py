"""What is doubtful about labels before anything is paid for: one check a module, each gives findings with a verdict."""
