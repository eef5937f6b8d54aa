"""The U-Net that looks at a noisy image and a timestep and predicts an image-shaped tensor.

The architecture is that of DDPM, Appendix B (https://arxiv.org/abs/2006.11239): residual blocks at several
resolutions, skip connections from the way down to the way up, self-attention at some of the resolutions.
"""

from collections.abc import Sequence

import torch
from module import Downsample, ResBlock, TimeEmbedding, Upsample, group_norm, scaled_down
from torch import nn


class UNet(nn.Module):
    """Images (B, C, H, W) in [-1, 1] plus noise, timesteps -> (B, C, H, W).

    The defaults are the lab's model for 64 x 64 images: 58.75 million parameters.
    """

    def __init__(
        self,
        image_resolution: int = 64,
        ch: int = 128,
        ch_mult: Sequence[int] = (1, 2, 2, 2),
        attn: Sequence[int] = (1,),
        num_res_blocks: int = 4,
        dropout: float = 0.1,
        image_channels: int = 3,
        num_classes: int | None = None,
    ):
        """
        Args:
            image_resolution: height and width in pixels, divisible by 2 once per level but the last
            ch: channels of the first level, a multiple of 4
            ch_mult: channels of each level, as multiples of ch; each level has half the resolution of the one
                before
            attn: levels, counted from 0, whose blocks have self-attention
            num_res_blocks: blocks per level on the way down; on the way up there is one more
            dropout: probability inside the residual blocks
            image_channels: 3 for RGB, 1 for grey
            num_classes: classes that a label can name, for the companion exercise; None for a network without
        """
        super().__init__()
        halvings = len(ch_mult) - 1
        if image_resolution % 2**halvings:
            raise ValueError(f"image_resolution {image_resolution} cannot be halved {halvings} times")
        if not set(attn) <= set(range(len(ch_mult))):
            raise ValueError(f"attn {list(attn)} names a level outside 0..{halvings}")
        self.image_resolution = image_resolution
        self.image_channels = image_channels
        self.inner_dtype: torch.dtype | None = None  # see forward()
        self.config = {
            "image_resolution": image_resolution,
            "ch": ch,
            "ch_mult": list(ch_mult),
            "attn": list(attn),
            "num_res_blocks": num_res_blocks,
            "dropout": dropout,
            "image_channels": image_channels,
        }
        if num_classes is not None:
            self.config["num_classes"] = num_classes

        dim_time = 4 * ch
        self.time_embedding = TimeEmbedding(2 * ch, dim_time)
        self.num_classes = num_classes
        if num_classes is not None:
            from companions import add_class  # only here, so that the lab works while that exercise does not

            self.add_class = add_class
            self.class_embedding = nn.Embedding(num_classes + 1, dim_time)  # the last row stands for no class
        self.head = nn.Conv2d(image_channels, ch, kernel_size=3, padding=1)

        def block(channels_in: int, channels_out: int, attention: bool) -> ResBlock:
            return ResBlock(channels_in, channels_out, dim_time, dropout, attention)

        channels = ch
        skips = [ch]  # channels of every feature map that the way up will want
        self.down = nn.ModuleList()
        for level, multiple in enumerate(ch_mult):
            for _ in range(num_res_blocks):
                self.down.append(block(channels, ch * multiple, level in attn))
                channels = ch * multiple
                skips.append(channels)
            if level < halvings:
                self.down.append(Downsample(channels))
                skips.append(channels)

        self.middle = nn.ModuleList([block(channels, channels, True), block(channels, channels, False)])

        self.up = nn.ModuleList()
        for level, multiple in reversed(list(enumerate(ch_mult))):
            for _ in range(num_res_blocks + 1):
                self.up.append(block(channels + skips.pop(), ch * multiple, level in attn))
                channels = ch * multiple
            if level > 0:
                self.up.append(Upsample(channels))

        self.tail = nn.Sequential(
            group_norm(channels),
            nn.SiLU(),
            scaled_down(nn.Conv2d(channels, image_channels, 3, padding=1)),
        )

    def forward(
        self, x: torch.Tensor, timestep: int | torch.Tensor, class_label: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Args:
            x: noisy images, (B, C, H, W)
            timestep: t = 0..T-1 (t=0 is the paper's t=1); an int or a tensor (), (1,) or (B,)
            class_label: 0..num_classes-1, or num_classes for no class, (B,); None is no class for all images, and
                the only choice for a network without classes
        Returns:
            (B, C, H, W): noise, clean image or posterior mean, whichever it was trained to predict

        With inner_dtype, such as bfloat16, all but the first and the last layer compute in it: these stay as they are
        because the mean predictor's target differs from its input by less than bfloat16 can tell apart.
        """
        if class_label is not None and self.num_classes is None:
            raise ValueError("this U-Net was built without classes: leave class_label out")
        t = torch.as_tensor(timestep, device=x.device).reshape(-1).expand(x.shape[0])  # (B,)
        h = self.head(x)
        if self.inner_dtype is None:
            return self.tail(self.inside(h, t, class_label))
        with torch.autocast(x.device.type, self.inner_dtype):
            h = self.inside(h.to(self.inner_dtype), t, class_label)
        return self.tail(h.float())

    def inside(self, h: torch.Tensor, t: torch.Tensor, class_label: torch.Tensor | None) -> torch.Tensor:
        """All but the first and the last layer: (B, ch, H, W) -> the same shape; t is (B,)."""
        time = self.time_embedding(t)  # (B, 4 ch)
        if self.num_classes is not None:
            time = self.add_class(time, class_label, self.class_embedding, self.num_classes)

        skips = [h]
        for layer in self.down:
            h = layer(h, time) if isinstance(layer, ResBlock) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, time)
        for layer in self.up:
            is_block = isinstance(layer, ResBlock)
            h = layer(torch.cat([h, skips.pop()], dim=1), time) if is_block else layer(h)
        return h
