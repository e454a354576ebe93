//! The client's side of a model: tokenizer, template, embedding, head.

use nesa_checkpoint::{ChatTemplate, Message, Tokenizer};
use nesa_model::engine::PackedHead;
use nesa_model::{Manifest, Vocabulary};

use crate::ClientError;

/// Everything that turns text into rows and rows into text.
pub struct ClientModel {
    /// The compiled model's manifest.
    pub manifest: Manifest,
    /// Embedding and head, by definition.
    pub vocabulary: Vocabulary,
    /// The head in the kernels' layout.
    pub head: PackedHead,
    /// Text to tokens.
    pub tokenizer: Tokenizer,
    /// Conversations to text.
    pub template: ChatTemplate,
}

impl std::fmt::Debug for ClientModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientModel")
            .field("name", &self.manifest.name)
            .finish_non_exhaustive()
    }
}

impl ClientModel {
    /// Joins the parts of a compiled model.
    ///
    /// # Errors
    /// [`ClientError::NotAChatModel`] for an encoder.
    pub fn new(
        manifest: Manifest,
        vocabulary: Vocabulary,
        tokenizer: Tokenizer,
        template: ChatTemplate,
    ) -> Result<Self, ClientError> {
        let head = PackedHead::new(&vocabulary)?.ok_or(ClientError::NotAChatModel)?;
        Ok(Self {
            manifest,
            vocabulary,
            head,
            tokenizer,
            template,
        })
    }

    /// The prompt tokens of a conversation. Control tokens that a message spells stay text.
    ///
    /// # Errors
    /// [`ClientError::Text`] when the template refuses, [`ClientError::PromptEmpty`].
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, ClientError> {
        let segments = self.template.render_segments(messages, true)?;
        let mut ids: Vec<u32> = self.manifest.text.bos.into_iter().collect();
        ids.extend(self.tokenizer.encode_segments(&segments)?);
        if ids.is_empty() {
            Err(ClientError::PromptEmpty)
        } else {
            Ok(ids)
        }
    }

    /// Whether `token` ends an answer.
    #[must_use]
    pub fn is_eos(&self, token: u32) -> bool {
        self.manifest.text.eos.contains(&token)
    }
}
