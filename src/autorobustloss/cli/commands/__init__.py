"""The commands: a module says what is on the page of each, and which call it makes; nothing slow is imported."""
