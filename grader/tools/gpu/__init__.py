"""What only a graphics card can show, by one command: `make gpu`, which is `python3 -m grader.tools.gpu [PART ...]`.

For whoever has a card for an hour: it needs nothing but torch, torchvision, numpy, Pillow, tqdm, matplotlib and
safetensors, which may be the system's own, no virtual environment and no network. Where pydantic is missing, bare.py
stands in for it. Each part runs in a process of its own for at most nine minutes; what it noted until then is kept.
After each part gpu.json is replaced whole, with gpu.md, the same as a table, beside it. Ctrl-C keeps what is done,
and a part that is run again replaces its own results alone. Commit gpu.json, gpu.md and gpu_samples.png.

    make gpu                                     all parts
    make gpu PARTS="speed fid" DATA=data/afhq    two of them, with a folder of images

    command.py   the command line           running.py  parts in processes, their limits, Ctrl-C
    record.py    gpu.json and gpu.md        scripts.py  the lab's scripts, started as students do
    session.py   what a part is given       child.py    a part's process
    machine.py   card, driver, versions     closed.py   which sandbox, and where it may run
    bare.py      instead of pydantic        parts/      a module a part
"""
