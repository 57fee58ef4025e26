"""The camera node: publishes a video, a folder of images, a webcam or a built-in scene."""
