"""Still images in the node: prompts on one image, and all that can be segmented in one, while tracking goes on."""
