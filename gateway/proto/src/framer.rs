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
        if input.is_empty() || !self.collect(Header::LEN, input) {
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

#[cfg(test)]
mod tests {
    use tessera_types::ServerSeq;

    use super::*;
    use crate::header::{Flags, MAX_CLIENT_BODY, MAX_SERVER_BODY};
    use crate::message::{Body, TestRequest};
    use crate::testing::Random;

    fn frames(count: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for test_req_id in 1..=count {
            let next_server_seq = ServerSeq::new(3);
            TestRequest {
                test_req_id,
                next_server_seq,
            }
            .encode_frame(test_req_id, Flags::NONE, &mut bytes);
        }
        bytes
    }

    /// Feeds `bytes` in pieces of the given sizes; returns the seqs of the frames found.
    fn feed(framer: &mut Framer, bytes: &[u8], mut size: impl FnMut() -> usize) -> Vec<u64> {
        let mut found = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (mut input, after) = rest.split_at(size().clamp(1, rest.len()));
            while let Some(frame) = framer.next_frame(&mut input).unwrap() {
                let body = TestRequest::decode_body(frame.body, frame.header.minor).unwrap();
                assert_eq!(body.test_req_id, frame.header.seq);
                found.push(frame.header.seq);
            }
            assert!(input.is_empty());
            rest = after;
        }
        found
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let bytes = frames(20);
        let all: Vec<u64> = (1..=20).collect();
        for size in 1..=bytes.len() {
            let mut framer = Framer::new(MAX_CLIENT_BODY);
            assert_eq!(feed(&mut framer, &bytes, || size), all);
            assert!(!framer.is_partial() && framer.finish().is_ok());
        }
        let mut random = Random::new(1);
        for _ in 0..500 {
            let mut framer = Framer::new(MAX_CLIENT_BODY);
            assert_eq!(feed(&mut framer, &bytes, || random.below(70)), all);
        }
    }

    #[test]
    fn a_frame_that_lies_whole_in_the_input_is_not_copied() {
        let bytes = frames(3);
        let mut framer = Framer::new(MAX_CLIENT_BODY);
        feed(&mut framer, &bytes, || bytes.len());
        assert_eq!(framer.partial.capacity(), 0);
    }

    #[test]
    fn row_12_header_bits() {
        for (at, bit) in [(6, 1), (7, 0x80), (5, 1 << 3), (5, 1 << 7)] {
            let mut bytes = frames(1);
            bytes[at] |= bit;
            let error = Framer::new(MAX_CLIENT_BODY)
                .next_frame(&mut bytes.as_slice())
                .unwrap_err();
            assert_eq!(error.close_code(), CloseCode::BadHeader);
        }
    }

    #[test]
    fn row_13_a_body_over_the_limit_is_refused_before_it_is_read() {
        for (limit, allowed) in [(MAX_CLIENT_BODY, 1_024_u16), (MAX_SERVER_BODY, 16_384)] {
            let mut bytes = frames(1);
            bytes.truncate(Header::LEN);
            bytes[..2].copy_from_slice(&allowed.to_le_bytes());
            assert_eq!(
                Framer::new(limit).next_frame(&mut bytes.as_slice()),
                Ok(None)
            );
            bytes[..2].copy_from_slice(&(allowed + 1).to_le_bytes());
            let mut framer = Framer::new(limit);
            // Byte by byte too, where the header is collected first.
            let error = bytes
                .iter()
                .find_map(|byte| framer.next_frame(&mut [*byte].as_slice()).err())
                .unwrap();
            assert_eq!(error.close_code(), CloseCode::BodyTooLarge);
            assert_eq!(framer.partial.len(), Header::LEN);
        }
    }

    #[test]
    fn row_17_a_stream_that_ends_inside_a_frame() {
        let bytes = frames(2);
        let frame = bytes.len() / 2;
        for cut in 0..=bytes.len() {
            let mut framer = Framer::new(MAX_CLIENT_BODY);
            let mut input = &bytes[..cut];
            while framer.next_frame(&mut input).unwrap().is_some() {}
            assert_eq!(framer.finish().is_ok(), cut % frame == 0, "cut at {cut}");
        }
    }

    #[test]
    fn random_bytes_never_panic_nor_keep_more_than_one_frame() {
        let mut random = Random::new(2);
        for _ in 0..20_000 {
            let mut framer = Framer::new(MAX_CLIENT_BODY);
            let mut bytes = vec![0; random.below(200)];
            random.fill(&mut bytes, 4);
            let mut rest = bytes.as_slice();
            'stream: while !rest.is_empty() {
                let (mut input, after) = rest.split_at(1 + random.below(rest.len()));
                loop {
                    match framer.next_frame(&mut input) {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'stream,
                    }
                }
                rest = after;
            }
            assert!(framer.partial.capacity() <= Header::LEN + MAX_CLIENT_BODY);
        }
    }
}
