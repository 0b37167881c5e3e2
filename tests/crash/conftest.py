"""What is run by itself, with packages that the tests do not have."""

collect_ignore = ["fuzz_readers.py", "label_uploads.py"]
