"""Small models of the transformers library, made from configurations alone, with random weights and no download."""

from collections.abc import Callable

import torch
import transformers as t
from torch import nn
from torch_nn_families import BATCH, LENGTH, Made

WORDS, WIDTH, INNER, HEADS, SIDE = 40, 16, 32, 2, 8
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS, "intermediate_size": INNER}
# Special tokens are never drawn: a row that stands for padding would get no gradient.
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
TEXT = {"vocab_size": WORDS, "max_position_embeddings": 16, **SPECIAL}


class Asked(nn.Module):
    """A model that is called with its inputs by name and gives the first tensor of its result: a loss where one of the
    names is `labels`, else scores or hidden states.
    """

    def __init__(self, model: nn.Module, *names: str) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, inputs, strict=True)), return_dict=False)[0]


def words() -> torch.Tensor:
    """A batch of drawn words."""
    return torch.randint(3, WORDS, (BATCH, LENGTH))


def mask() -> torch.Tensor:
    """All words of the first text, all but two of the others."""
    seen = torch.ones(BATCH, LENGTH, dtype=torch.long)
    seen[1:, -2:] = 0
    return seen


def gpt2() -> Made:
    """GPT-2 with its loss over the next word; embedding and head share one weight."""
    sizes = {"n_embd": WIDTH, "n_layer": 2, "n_head": HEADS, "n_positions": 16, "vocab_size": WORDS}
    model = t.GPT2LMHeadModel(t.GPT2Config(**sizes, **SPECIAL, use_cache=False))
    ids = words()
    return Asked(model, "input_ids", "labels"), (ids, ids)


def bert() -> Made:
    """BERT as it is called by everybody: ids and a padding mask, all outputs."""
    return t.BertModel(t.BertConfig(**SIZES, **TEXT)), (words(), mask())


def distilbert() -> Made:
    """DistilBERT with a head that fills in words, without dropout."""
    sizes = {
        "dim": WIDTH,
        "n_layers": 2,
        "n_heads": HEADS,
        "hidden_dim": INNER,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    model = t.DistilBertForMaskedLM(t.DistilBertConfig(**sizes, **TEXT))
    return Asked(model, "input_ids", "attention_mask"), (words(), mask())


def deberta() -> Made:
    """DeBERTa: attention to content and to relative positions."""
    kinds = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 8}
    model = t.DebertaV2Model(t.DebertaV2Config(**SIZES, **TEXT, **kinds))
    return Asked(model, "input_ids", "attention_mask"), (words(), mask())


def llama() -> Made:
    """Llama with grouped heads, rotary positions and its loss."""
    config = t.LlamaConfig(**SIZES, **TEXT, num_key_value_heads=1, use_cache=False, attention_dropout=0.1)
    ids = words()
    return Asked(t.LlamaForCausalLM(config), "input_ids", "labels"), (ids, ids)


def gemma2() -> Made:
    """Gemma-2: soft-capped scores, a sliding window, and norms before and after each block."""
    kinds = {"head_dim": 8, "num_key_value_heads": 1, "sliding_window": 4, "query_pre_attn_scalar": 8}
    config = t.Gemma2Config(**SIZES, **TEXT, **kinds, use_cache=False, attn_implementation="eager")
    ids = words()
    return Asked(t.Gemma2ForCausalLM(config), "input_ids", "labels"), (ids, ids)


def gpt_neox() -> Made:
    """GPT-NeoX: rotary positions on a part of each head, attention and feed-forward side by side."""
    config = t.GPTNeoXConfig(**SIZES, **TEXT, rotary_pct=0.5, hidden_dropout=0.1, use_cache=False)
    return Asked(t.GPTNeoXForCausalLM(config), "input_ids", "attention_mask"), (words(), mask())


def falcon() -> Made:
    """Falcon: one head of keys and values, positions by a bias that falls with distance."""
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS}
    config = t.FalconConfig(**sizes, **TEXT, alibi=True, hidden_dropout=0.1, use_cache=False)
    return Asked(t.FalconForCausalLM(config), "input_ids", "attention_mask"), (words(), mask())


def opt() -> Made:
    """OPT: learned positions, ReLU, dropout."""
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS, "ffn_dim": INNER}
    config = t.OPTConfig(**sizes, **TEXT, word_embed_proj_dim=WIDTH, use_cache=False)
    return Asked(t.OPTForCausalLM(config), "input_ids", "attention_mask"), (words(), mask())


def mixtral() -> Made:
    """Mixtral: each word goes to two of four experts."""
    kinds = {"num_local_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 1}
    kinds["experts_implementation"] = "eager"  # the grouped product that is the default has no float64
    config = t.MixtralConfig(**SIZES, **TEXT, **kinds, use_cache=False, output_router_logits=True)
    ids = words()
    return Asked(t.MixtralForCausalLM(config), "input_ids", "labels"), (ids, ids)


def mamba() -> Made:
    """Mamba: a selective scan in place of attention."""
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "state_size": 4, "vocab_size": WORDS, "time_step_rank": 2}
    model = t.MambaForCausalLM(t.MambaConfig(**sizes, **SPECIAL, use_cache=False, use_mambapy=False))
    ids = words()
    return Asked(model, "input_ids", "labels"), (ids, ids)


def t5() -> Made:
    """T5: encoder and decoder with relative positions, gated GELU, dropout, and its loss."""
    sizes = {"d_model": WIDTH, "d_kv": 8, "d_ff": INNER, "num_layers": 1, "num_heads": HEADS, "vocab_size": WORDS}
    config = t.T5Config(**sizes, feed_forward_proj="gated-gelu", decoder_start_token_id=0, use_cache=False, **SPECIAL)
    return Asked(t.T5ForConditionalGeneration(config), "input_ids", "labels"), (words(), words()[:, :4].contiguous())


def image(channels: int = 3, side: int = SIDE) -> torch.Tensor:
    """A batch of drawn images."""
    return torch.randn(BATCH, channels, side, side)


def vit() -> Made:
    """A vision transformer with a pooled head."""
    return t.ViTModel(t.ViTConfig(**SIZES, image_size=SIDE, patch_size=4)), (image(),)


def resnet() -> Made:
    """A residual network with bottlenecks and batch norm, and its loss over classes."""
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 3}
    model = t.ResNetForImageClassification(t.ResNetConfig(**sizes))
    return Asked(model, "pixel_values", "labels"), (image(side=16), torch.tensor([0, 2]))


def convnext() -> Made:
    """ConvNeXt: depthwise convolutions, layer norm over channels, dropped paths."""
    config = t.ConvNextConfig(num_stages=2, hidden_sizes=[8, 16], depths=[1, 1], patch_size=2, drop_path_rate=0.2)
    return Asked(t.ConvNextModel(config), "pixel_values"), (image(),)


def swin() -> Made:
    """Swin: attention in shifted windows with a bias by relative position, patches merged."""
    sizes = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [2, 1], "num_heads": [2, 2]}
    config = t.SwinConfig(**sizes, window_size=4, hidden_dropout_prob=0.1, drop_path_rate=0.1)
    return Asked(t.SwinModel(config), "pixel_values"), (image(side=16),)


def clip() -> Made:
    """CLIP: images and texts side by side, with the contrastive loss."""
    text = {**SIZES, **TEXT}
    seen = {**SIZES, "image_size": SIDE, "patch_size": 4}
    model = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=seen, projection_dim=8))

    class Loss(Asked):
        """The model's own contrastive loss."""

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return self.model(**dict(zip(self.names, inputs, strict=True)), return_loss=True).loss

    return Loss(model, "input_ids", "pixel_values", "attention_mask"), (words(), image(), mask())


def whisper_encoder() -> Made:
    """The encoder of Whisper: two convolutions over a spectrogram, then attention."""
    sizes = {"d_model": WIDTH, "encoder_layers": 2, "encoder_attention_heads": HEADS, "encoder_ffn_dim": INNER}
    sizes |= {"decoder_layers": 1, "decoder_attention_heads": HEADS}  # made along, not used
    config = t.WhisperConfig(**sizes, num_mel_bins=8, max_source_positions=LENGTH, dropout=0.1, **SPECIAL)
    encoder = t.WhisperModel(config).get_encoder()
    return Asked(encoder, "input_features"), (torch.randn(BATCH, 8, 2 * LENGTH),)


def wav2vec2() -> Made:
    """Wav2vec 2.0: convolutions over raw sound, group norm, positions by a convolution with normalised weights."""
    convolutions = {"conv_dim": [8, 8], "conv_stride": [4, 2], "conv_kernel": [6, 3]}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "mask_time_prob": 0.0}
    config = t.Wav2Vec2Config(**SIZES, **convolutions, **positions, layerdrop=0.0)
    model = t.Wav2Vec2Model(config)
    model.feature_extractor._requires_grad = False  # it would ask the sound itself for a gradient, a leaf or not
    return Asked(model, "input_values"), (torch.randn(BATCH, 64),)


TRANSFORMERS: dict[str, Callable[[], Made]] = {
    maker.__name__: maker
    for maker in (
        gpt2,
        bert,
        distilbert,
        deberta,
        llama,
        gemma2,
        gpt_neox,
        falcon,
        opt,
        mixtral,
        mamba,
        t5,
        vit,
        resnet,
        convnext,
        swin,
        clip,
        whisper_encoder,
        wav2vec2,
    )
}
