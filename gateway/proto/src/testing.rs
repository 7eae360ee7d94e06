//! What the tests of several modules share.

use crate::field::FieldSpec;
use crate::header::{Flags, Header, MINOR};
use crate::message::{BodyError, Message, Template};

/// A small generator of numbers that only have to differ: SplitMix64, so that a test's input depends
/// on its seed alone.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    /// Fills `bytes`; about one byte in `sparse` is random, the others are 0 or 1, so that codes and
    /// flags are often valid.
    pub(crate) fn fill(&mut self, bytes: &mut [u8], sparse: usize) {
        for byte in bytes {
            let random = self.next().to_le_bytes();
            *byte = if self.below(sparse) == 0 {
                random[0]
            } else {
                random[1] & 1
            };
        }
    }
}

/// A body of this template whose field values `choose` gives as bytes, `count` entries in its group.
/// Codes for which `choose` gives nothing valid are set to their lowest.
pub(crate) fn body(
    template: Template,
    count: u8,
    mut choose: impl FnMut(usize, &FieldSpec) -> Vec<u8>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |bytes: &mut Vec<u8>, fields: &[FieldSpec]| {
        for field in fields {
            let value = choose(bytes.len(), field);
            assert_eq!(value.len(), field.width, "{}", field.name);
            bytes.extend(value);
        }
    };
    put(&mut bytes, template.fields());
    if let Some(group) = template.group() {
        *bytes.last_mut().expect("a count") = count;
        for _ in 0..count {
            put(&mut bytes, group.fields);
        }
    }
    let header = header(template, &bytes);
    let fixed = template.min_body();
    for _ in 0..4_096 {
        match Message::decode(&header, &bytes) {
            Ok(_) => return bytes,
            Err(BodyError::Field { tag, .. }) => {
                let places = offsets(template, fixed, bytes.len(), tag);
                let next = (bytes[places[0]] + 1) % 104; // every code's first value is below
                for at in places {
                    bytes[at] = next;
                }
            }
            Err(error) => panic!("{template:?}: {error}"),
        }
    }
    panic!("{template:?}: no valid codes found");
}

pub(crate) fn header(template: Template, body: &[u8]) -> Header {
    Header {
        body_len: u16::try_from(body.len()).expect("bodies are small"),
        template: template.number(),
        minor: MINOR,
        flags: Flags::NONE,
        seq: 0,
    }
}

/// Where the one-byte codes with this tag lie.
fn offsets(template: Template, fixed: usize, len: usize, tag: u16) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    for field in template.fields() {
        if field.tag == tag {
            found.push(at);
        }
        at += field.width;
    }
    if let Some(group) = template.group() {
        at = fixed;
        while at < len {
            for field in group.fields {
                if field.tag == tag {
                    found.push(at);
                }
                at += field.width;
            }
        }
    }
    found
}

/// A value for each kind of field: all bits for numbers and bytes, printable and padded for text.
pub(crate) fn random_value(random: &mut Random, field: &FieldSpec) -> Vec<u8> {
    let mut value = vec![0; field.width];
    match field.kind {
        "u8" | "u16" | "u32" | "u64" | "i64" | "bytes" => {
            for byte in &mut value {
                *byte = random.next().to_le_bytes()[0];
            }
        }
        "text" => {
            let len = random.below(field.width + 1);
            for byte in &mut value[..len] {
                *byte = b' ' + u8::try_from(random.below(95)).expect("below 95");
            }
        }
        "zero" => {}
        "bits8" | "bits16" | "bool" => value[0] = u8::try_from(random.below(2)).expect("0 or 1"),
        _ => value[0] = u8::try_from(random.below(31)).expect("below 31"),
    }
    value
}
