"""The operator's console: a web page that shows, prompts and watches trackers over their topics and services."""
