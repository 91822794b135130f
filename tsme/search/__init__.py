"""A searchable index of any folder of images: built once, searched by an image of either modality."""
