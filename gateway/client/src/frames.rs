//! Frames of a stream that the server writes.

use std::ops::ControlFlow;

use bytes::Bytes;
use quinn::{ReadError, RecvStream};
use tessera_proto::header::MAX_SERVER_BODY;
use tessera_proto::{Frame, FrameError, Framer};

/// Reads many chunks at a time and gives frames that are not copied where they lie whole in one.
pub(crate) struct FrameReader {
    stream: RecvStream,
    framer: Framer,
    /// What has been read; the chunks from `chunk` to `filled` are not used up.
    chunks: [Bytes; CHUNKS],
    chunk: usize,
    filled: usize,
    /// Bytes of the first of these that are used up.
    used: usize,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            framer: Framer::new(MAX_SERVER_BODY),
            chunks: Default::default(),
            chunk: 0,
            filled: 0,
            used: 0,
        }
    }

    /// Waits for more bytes when all have been used; false at the end of the stream. Cancel safe.
    pub(crate) async fn fill(&mut self) -> Result<bool, ReadError> {
        if self.chunk < self.filled {
            return Ok(true);
        }
        match self.stream.read_chunks(&mut self.chunks).await? {
            Some(count) => {
                (self.chunk, self.filled, self.used) = (0, count, 0);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Gives every frame that is here, until `each` breaks; the rest stays for the next call.
    pub(crate) fn drain<E: From<FrameError>>(
        &mut self,
        mut each: impl FnMut(Frame<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        while self.chunk < self.filled {
            let bytes = &self.chunks[self.chunk];
            let mut input = &bytes[self.used..];
            while let Some(frame) = self.framer.next_frame(&mut input)? {
                if each(frame)?.is_break() {
                    self.used = bytes.len() - input.len();
                    return Ok(());
                }
            }
            self.chunks[self.chunk] = Bytes::new();
            self.chunk += 1;
            self.used = 0;
        }
        Ok(())
    }
}

const CHUNKS: usize = 32;
