"""The press: runs notebooks through papermill and prints the book from what they gave."""
