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

#[cfg(test)]
mod tests {
    use tessera_types::{ServerSeq, Timestamp};

    use super::*;
    use crate::codes::CancelOnDisconnect;
    use crate::field::Text;

    fn logon() -> Logon {
        Logon {
            sender: Text::new("ALICE").unwrap(),
            target: Text::new("TESSERA").unwrap(),
            heart_bt_int: 10,
            epoch: 0x0102_0304_0506_0708,
            next_server_seq: ServerSeq::new(9),
            schema_minor: 0,
            cancel_on_disconnect: CancelOnDisconnect::Both,
            cancel_grace: 0,
            username: Text::new("trader").unwrap(),
            sending_time: Timestamp::from_nanos(0x1112_1314_1516_1718),
            signature: [0; 64],
            take_over: false,
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_table() {
        let bytes = logon_signing_bytes(Protocol::OrderEntry, &logon(), &[0xee; EXPORTER_LEN]);
        assert_eq!(&bytes[0..16], b"tessera logon/1\0");
        assert_eq!(&bytes[16..32], b"txp-oe/1\0\0\0\0\0\0\0\0");
        assert_eq!(bytes[32..40], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(&bytes[40..56], b"ALICE\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(&bytes[56..72], b"TESSERA\0\0\0\0\0\0\0\0\0");
        assert_eq!(&bytes[72..88], b"trader\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(
            bytes[88..96],
            [0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]
        );
        assert_eq!(bytes[96..104], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[104..112], [9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[112..144], [0xee; 32]);
    }

    #[test]
    fn everything_that_must_be_bound_changes_them() {
        let exporter = [1; EXPORTER_LEN];
        let base = logon_signing_bytes(Protocol::OrderEntry, &logon(), &exporter);
        let differs = |change: fn(&mut Logon)| {
            let mut logon = logon();
            change(&mut logon);
            assert_ne!(
                logon_signing_bytes(Protocol::OrderEntry, &logon, &exporter),
                base
            );
        };
        differs(|logon| logon.sender = Text::new("BOB").unwrap());
        differs(|logon| logon.target = Text::new("OTHER").unwrap());
        differs(|logon| logon.username = Text::new("admin").unwrap());
        differs(|logon| logon.epoch = 1);
        differs(|logon| logon.next_server_seq = ServerSeq::new(1));
        differs(|logon| logon.sending_time = Timestamp::from_nanos(1));
        assert_ne!(
            logon_signing_bytes(Protocol::MarketData, &logon(), &exporter),
            base
        );
        assert_ne!(
            logon_signing_bytes(Protocol::OrderEntry, &logon(), &[2; EXPORTER_LEN]),
            base
        );
    }
}
