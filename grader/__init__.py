"""Autograder of the DDPM lab: runs submissions in a sandbox and judges what they computed outside of it."""

__version__ = "0.1.0"
