"""Encodings of source files: our own guess for GBK and Big5, beside charset-normalizer's on the same files."""

import random

import pytest
from charset_normalizer import from_bytes

from grader.lab import LAB
from grader.submission.encodings import guess

TRADITIONAL = "計算雜訊的標準差 反向過程的平均值 隨機抽樣時間步 損失函數使用均方誤差 不要忘記最後一步沒有雜訊"
SIMPLIFIED = "计算噪声的标准差 反向过程的平均值 随机抽样时间步 损失函数使用均方误差 不要忘记最后一步没有噪声"
SAME = {"big5": "cp950", "big5hkscs": "cp950", "gbk": "gb18030", "gb2312": "gb18030", "cp936": "gb18030"}


def files(encoding, phrases, comments, count=12):
    """Source of the lab with some comments in Chinese, as students write them."""
    rng = random.Random(comments)
    source = (LAB.solutions / "2d_plot_diffusion_todo" / "ddpm.py").read_text(encoding="utf-8")
    lines = source.encode("ascii", "ignore").decode().split("\n")[:80]
    for _ in range(count):
        mixed = list(lines)
        for _ in range(comments):
            mixed.insert(rng.randrange(len(mixed)), f"    # {rng.choice(phrases.split())}")
        yield "\n".join(mixed).encode(encoding)


@pytest.mark.parametrize("comments", [1, 3, 20])
@pytest.mark.parametrize(("encoding", "phrases"), [("cp950", TRADITIONAL), ("gb18030", SIMPLIFIED)])
def test_chinese_comments_are_told_apart_and_no_worse_than_by_charset_normalizer(encoding, phrases, comments):
    raws = list(files(encoding, phrases, comments))
    ours = sum(guess(raw) == encoding for raw in raws)
    best = [from_bytes(raw).best() for raw in raws]
    theirs = sum(found is not None and SAME.get(found.encoding, found.encoding) == encoding for found in best)
    assert ours == len(raws)
    assert ours >= theirs
