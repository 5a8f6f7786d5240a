"""In which snapshot the state of an image stands, and what else a dataset knows already."""
