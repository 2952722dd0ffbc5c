import torch

from sumi.codecs import Autoencoder, Codec, Pixels


def test_autoencoder_and_pixels_follow_the_codec_protocol() -> None:
    for codec in (Pixels(), Autoencoder(4, 3, (16,), (1,), (1,))):
        assert isinstance(codec, Codec)
        x = torch.rand(2, 4, 8, 8) * 2 - 1
        z = codec.encode(x)
        assert z.shape == (2, codec.latent_channels, 8 // codec.factor, 8 // codec.factor)
        assert codec.decode(z).shape == x.shape


def test_pixels_encode_and_decode_change_nothing() -> None:
    x = torch.rand(2, 4, 8, 8) * 2 - 1
    torch.testing.assert_close(Pixels().decode(Pixels().encode(x)), x)
    assert Pixels(**Pixels(3).config).latent_channels == 3
