//! What a Logon's signature covers. Signing and verifying are the shells' affair, who own the keys.

use crate::message::Logon;
use crate::protocol::Protocol;

/// Label of the TLS exporter (RFC 8446, section 7.5) whose value a Logon signs, with an empty context.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-tessera-logon";

/// Bytes of the exporter's value.
pub const EXPORTER_LEN: usize = 32;

/// Bytes that a Logon signs.
pub const SIGNING_LEN: usize = 144;

/// The bytes that the Ed25519 signature of a Logon covers.
///
/// The exporter's value ties them to one TLS connection: a Logon that was captured elsewhere is
/// useless here. The fields are named one by one, so that fields which a later minor appends do not
/// change what an earlier one signed.
///
/// | offset | field | width |
/// |---:|---|---:|
/// | 0 | `tessera logon/1` and a zero byte | 16 |
/// | 16 | ALPN name, zero padded | 16 |
/// | 32 | epoch | 8 |
/// | 40 | SenderCompID | 16 |
/// | 56 | TargetCompID | 16 |
/// | 72 | Username, the name of the key | 16 |
/// | 88 | SendingTime | 8 |
/// | 96 | next ClientSeq, always 1 | 8 |
/// | 104 | NextExpectedMsgSeqNum | 8 |
/// | 112 | exporter value | 32 |
#[must_use]
pub fn logon_signing_bytes(
    protocol: Protocol,
    logon: &Logon,
    exporter: &[u8; EXPORTER_LEN],
) -> [u8; SIGNING_LEN] {
    let mut alpn = [0; 16];
    let name = protocol.alpn().as_bytes();
    alpn[..name.len()].copy_from_slice(name);
    let fields: [&[u8]; 10] = [
        b"tessera logon/1\0",
        &alpn,
        &logon.epoch.to_le_bytes(),
        logon.sender.bytes(),
        logon.target.bytes(),
        logon.username.bytes(),
        &logon.sending_time.nanos().to_le_bytes(),
        &1_u64.to_le_bytes(),
        &logon.next_server_seq.get().to_le_bytes(),
        exporter,
    ];
    let mut bytes = [0; SIGNING_LEN];
    let mut at = 0;
    for field in fields {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    debug_assert_eq!(at, SIGNING_LEN);
    bytes
}
