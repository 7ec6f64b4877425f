"""What a job trains with: a loss, or a procedure around one."""
