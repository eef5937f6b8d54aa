"""FID that can be defended: distance, interval, KID, and a look at the images. Start at `measure.measure`."""
