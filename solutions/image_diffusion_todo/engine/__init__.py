"""What train.py and sampling.py stand on, so that what you read there is the diffusion model and nothing else.

fast         what a device offers: mixed precision, channels-last, a compiled network, memory that is kept
plain        what a textbook does instead, for `train.py --plain` and benchmark.py
data         the images of training step n
noise        a random stream for each image that is drawn
commands     options of the command line
runs         results folders: losses, checkpoints, Ctrl-C, going on
checkpoint   last.ckpt
curves       loss.csv and its picture
images       image files
errors       what people can mend, said in a line
download     AFHQ

Each is imported by name, as in `from engine import fast`: the package itself imports nothing.
"""
