"""What can be asked of each command: names, types, defaults and help of its options; nothing slow is imported here."""
