//! Cuts a stream of bytes into frames, keeping at most one incomplete frame.

use thiserror::Error;

use crate::codes::CloseCode;
use crate::header::{Header, HeaderError};

/// One complete frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// Its body, as long as the header says.
    pub body: &'a [u8],
}

/// Why a stream cannot go on: there is no way to find the next frame. Class A, without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A header that is none (row 12).
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// A body larger than allowed, found before any of it is read (row 13).
    #[error("a frame announces a body of {len} bytes, at most {max} are allowed")]
    TooLarge {
        /// Bytes announced.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The stream ended inside a frame (row 17).
    #[error("the stream ended {missing} bytes before the end of a frame")]
    Truncated {
        /// Bytes that are missing at least.
        missing: usize,
    },
}

impl FrameError {
    /// The code to close with.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Header(_) => CloseCode::BadHeader,
            Self::TooLarge { .. } => CloseCode::BodyTooLarge,
            Self::Truncated { .. } => CloseCode::Truncated,
        }
    }
}

/// Takes bytes as they come and gives frames.
///
/// A frame that lies whole in the input is not copied. One that does not is collected in a buffer,
/// which is allocated when the first such frame's length is known to be allowed, and never grows
/// beyond one frame of the largest size.
///
/// ```
/// use tessera_proto::message::{Body, TestRequest};
/// use tessera_proto::{Flags, Framer};
/// use tessera_types::ServerSeq;
///
/// let mut bytes = Vec::new();
/// let request = TestRequest { test_req_id: 7, next_server_seq: ServerSeq::new(0) };
/// request.encode_frame(0, Flags::NONE, &mut bytes);
///
/// let mut framer = Framer::new(1_024);
/// let (first, second) = bytes.split_at(20);
/// let mut input = first;
/// assert_eq!(framer.next_frame(&mut input), Ok(None));
/// input = second;
/// let frame = framer.next_frame(&mut input)?.expect("now it is whole");
/// assert_eq!(TestRequest::decode_body(frame.body, frame.header.minor), Ok(request));
/// # Ok::<(), tessera_proto::FrameError>(())
/// ```
#[derive(Debug)]
pub struct Framer {
    max_body: usize,
    partial: Vec<u8>,
    /// The frame in `partial` was handed out and is to be forgotten.
    given: bool,
}

impl Framer {
    /// A framer that accepts bodies of at most `max_body` bytes.
    #[must_use]
    pub const fn new(max_body: usize) -> Self {
        Self {
            max_body,
            partial: Vec::new(),
            given: false,
        }
    }

    /// The next frame, taking its bytes off the front of `input`; nothing when the input ends first,
    /// and then all of it has been taken.
    ///
    /// # Errors
    /// [`FrameError`]: the connection is to be closed, and this framer not to be used again.
    pub fn next_frame<'f, 'i: 'f>(
        &'f mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Frame<'f>>, FrameError> {
        if self.given {
            self.partial.clear();
            self.given = false;
        }
        if self.partial.is_empty()
            && let Some((bytes, rest)) = input.split_first_chunk::<{ Header::LEN }>()
        {
            let header = self.check(bytes)?;
            if let Some((body, rest)) = rest.split_at_checked(usize::from(header.body_len)) {
                *input = rest;
                return Ok(Some(Frame { header, body }));
            }
        }
        if !self.collect(Header::LEN, input) {
            return Ok(None);
        }
        let bytes = self
            .partial
            .first_chunk()
            .expect("a whole header was collected");
        let header = self.check(bytes)?;
        if !self.collect(Header::LEN + usize::from(header.body_len), input) {
            return Ok(None);
        }
        self.given = true;
        let body = &self.partial[Header::LEN..];
        Ok(Some(Frame { header, body }))
    }

    /// Whether part of a frame has come and the rest has not.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.partial.is_empty() && !self.given
    }

    /// Checks that the stream may end here.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] when it ends inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        if !self.is_partial() {
            return Ok(());
        }
        let whole = self.partial.first_chunk().map_or(Header::LEN, |bytes| {
            Header::parse(bytes).map_or(Header::LEN, |header| {
                Header::LEN + usize::from(header.body_len)
            })
        });
        Err(FrameError::Truncated {
            missing: whole.saturating_sub(self.partial.len()),
        })
    }

    fn check(&self, bytes: &[u8; Header::LEN]) -> Result<Header, FrameError> {
        let header = Header::parse(bytes)?;
        let len = usize::from(header.body_len);
        if len > self.max_body {
            return Err(FrameError::TooLarge {
                len,
                max: self.max_body,
            });
        }
        Ok(header)
    }

    /// Moves input into `partial` until it holds `len` bytes; false when the input ends before.
    fn collect(&mut self, len: usize, input: &mut &[u8]) -> bool {
        let wanted = len.saturating_sub(self.partial.len());
        self.partial.reserve_exact(wanted);
        let (now, rest) = input.split_at(wanted.min(input.len()));
        self.partial.extend_from_slice(now);
        *input = rest;
        self.partial.len() >= len
    }
}
