"""What can be asked of the commands: names, types, defaults and help of options; nothing slow is imported."""
