"""The side that speaks to browsers: the page, its pictures, and who may see them."""
