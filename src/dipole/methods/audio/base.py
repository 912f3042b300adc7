"""Methods of one modality of sounds and one of texts, which may go on from a run of CLIP or CLOOB."""

from typing import Any, ClassVar

from dipole.methods.multimodal.base import ModalityEmbedding
from dipole.views.sound.arranged import sound_and_text


class SoundText(ModalityEmbedding):
    """A tower of sounds and a tower of texts.

    A run that starts from another one (`init_from`) takes over its encoders, their sizes and its tokenizers, unless the
    settings name others.

    Args:
        sound_encoder: see `build_modality_encoder`; a recurrent one tells what came first.
        temperature: τ at the start.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Raises:
        InputError: there are other modalities than one of sounds and one of texts.
    """

    inherits_towers: ClassVar[bool] = True

    def __init__(self, *, sound_encoder: str = "gru", temperature: float = 0.07, **options: Any) -> None:
        super().__init__(sound_encoder=sound_encoder, temperature=temperature, **options)
        self.sound, self.text = sound_and_text(self.modalities)

    @property
    def refreshed_modality(self) -> str:
        """The modality whose embeddings `refresh` sees."""
        return self.sound
