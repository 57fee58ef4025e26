"""The localizer: a lifecycle node that says where tracked objects are in metres, by a depth camera."""
