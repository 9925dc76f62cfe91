"""Small models made of torch.nn alone, in train mode, with random weights: a family is a name and a maker."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

Made = tuple[nn.Module, tuple[torch.Tensor, ...]]
BATCH, LENGTH, WIDTH = 2, 6, 16


def mlp() -> Made:
    """Three linear layers with GELU and SiLU between them, and dropout."""
    layers = nn.Linear(8, WIDTH), nn.GELU(), nn.Dropout(0.2), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 4)
    return nn.Sequential(*layers), (torch.randn(5, 8),)


def cnn() -> Made:
    """Convolutions, batch norm, pooling, channel dropout, and a linear head."""
    features = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.2)
    deeper = nn.Conv2d(8, 8, 3, stride=2, groups=2), nn.GroupNorm(2, 8), nn.LeakyReLU(0.1), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*features, *deeper, nn.Flatten(), nn.Linear(8, 4)), (torch.randn(BATCH, 3, 12, 12),)


class Recurrent(nn.Module):
    """A recurrent layer over a batch of sequences, and a linear head on every step."""

    def __init__(self, layer: nn.Module, features: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(features, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps, _ = self.layer(x)
        return self.head(steps)


def lstm() -> Made:
    """Two layers of LSTM with dropout between them."""
    layer = nn.LSTM(8, WIDTH, num_layers=2, dropout=0.2, batch_first=True)
    return Recurrent(layer, WIDTH), (torch.randn(BATCH, LENGTH, 8),)


def lstm_bidirectional() -> Made:
    """One LSTM in both directions with a projected state."""
    layer = nn.LSTM(8, WIDTH, bidirectional=True, proj_size=6, batch_first=True)
    return Recurrent(layer, 12), (torch.randn(BATCH, LENGTH, 8),)


def gru() -> Made:
    """Two layers of GRU in both directions, with dropout between them."""
    layer = nn.GRU(8, WIDTH, num_layers=2, dropout=0.2, bidirectional=True, batch_first=True)
    return Recurrent(layer, 2 * WIDTH), (torch.randn(BATCH, LENGTH, 8),)


def elman() -> Made:
    """A plain recurrent network with tanh, time first."""
    return Recurrent(nn.RNN(8, WIDTH), WIDTH), (torch.randn(LENGTH, BATCH, 8),)


def transformer_encoder() -> Made:
    """Two encoder layers with dropout, one normalising before and one after."""
    before = nn.TransformerEncoderLayer(WIDTH, 2, 32, dropout=0.1, norm_first=True, batch_first=True)
    after = nn.TransformerEncoderLayer(WIDTH, 2, 32, dropout=0.1, activation="gelu", batch_first=True)
    return nn.Sequential(before, after, nn.Linear(WIDTH, 4)), (torch.randn(BATCH, LENGTH, WIDTH),)


def transformer() -> Made:
    """The encoder-decoder of torch.nn without dropout, so that its attention is the fused kernel."""
    model = nn.Transformer(WIDTH, 2, 1, 1, 32, dropout=0.0, batch_first=True)
    return model, (torch.randn(BATCH, LENGTH, WIDTH), torch.randn(BATCH, LENGTH - 1, WIDTH))


class UNet(nn.Module):
    """One level down and up again: strided and transposed convolutions, a bilinear resize, and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.InstanceNorm2d(8, affine=True), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.Mish())
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.leave = nn.Sequential(nn.Conv2d(24, 8, 3, padding=1), nn.ELU(), nn.Dropout2d(0.2), nn.Conv2d(8, 2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.enter(x)
        low = self.down(skip)
        resized = F.interpolate(low[:, :8], scale_factor=2, mode="bilinear", align_corners=False)
        return self.leave(torch.cat([skip, self.up(low), resized], 1))


def u_net() -> Made:
    """A U-Net of one level on images of 8 by 8."""
    return UNet(), (torch.randn(BATCH, 2, 8, 8),)


class Autoencoder(nn.Module):
    """A variational autoencoder: a drawn latent number, and its loss with a divergence term."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(12, WIDTH), nn.Softplus())
        self.mean, self.log_variance = nn.Linear(WIDTH, 4), nn.Linear(WIDTH, 4)
        self.decoder = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, WIDTH)), nn.Tanh())
        self.leave = nn.Linear(WIDTH, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1).mean()
        return F.binary_cross_entropy_with_logits(self.leave(self.decoder(z)), x.sigmoid()) + 0.1 * divergence


def variational_autoencoder() -> Made:
    """A variational autoencoder with its loss."""
    return Autoencoder(), (torch.randn(5, 12),)


class Classifier(nn.Module):
    """A bag of embedded words and an embedded context, into a cross entropy with smoothed labels."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.context = nn.EmbeddingBag(20, WIDTH, mode="mean"), nn.Embedding(5, WIDTH)
        self.mix = nn.Bilinear(WIDTH, WIDTH, 8)
        self.head = nn.Sequential(nn.PReLU(), nn.Linear(8, 4))

    def forward(self, words: torch.Tensor, context: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        scores = self.head(self.mix(self.words(words), self.context(context)))
        return F.cross_entropy(scores, labels, label_smoothing=0.1)


def word_classifier() -> Made:
    """Words and a context as integers, with labels."""
    words = torch.randint(20, (5, LENGTH))
    return Classifier(), (words, torch.tensor([0, 1, 2, 1, 4]), torch.randint(4, (5,)))


TORCH_NN: dict[str, Callable[[], Made]] = {
    maker.__name__: maker
    for maker in (
        mlp,
        cnn,
        lstm,
        lstm_bidirectional,
        gru,
        elman,
        transformer_encoder,
        transformer,
        u_net,
        variational_autoencoder,
        word_classifier,
    )
}
