//! Records as commands of the engine, and which of the engine's rules this program knows.

use tessera_journal::{Body, Record};
use tessera_types::{AdvanceTime, Command, Sequenced, wire};

/// Versions of the engine's rules that this program replays.
pub(crate) const RULES: std::ops::RangeInclusive<u32> = 1..=1;

/// What a record has the engine do, if it has. In place of a command that an operator put out of force
/// only the clock moves.
///
/// # Errors
/// The payload is no command this program knows.
pub(crate) fn sequenced(record: &Record<'_>) -> Result<Option<Sequenced>, wire::DecodeError> {
    let command = match record.body() {
        Ok(Body::Command(payload)) => wire::decode_command(record.kind, record.time, payload)?,
        Ok(Body::Void { .. }) => Command::AdvanceTime(AdvanceTime),
        _ => return Ok(None),
    };
    Ok(Some(Sequenced {
        seq: record.seq,
        time: record.time,
        command,
    }))
}

/// The version of the engine's rules that a record puts in force, if this program does not know it.
pub(crate) fn unknown_rules(record: &Record<'_>) -> Option<u32> {
    match record.body() {
        Ok(Body::Format { rules_version, .. } | Body::Activation { rules_version }) => {
            (!RULES.contains(&rules_version)).then_some(rules_version)
        }
        _ => None,
    }
}

/// What is said about rules that this program does not know.
pub(crate) fn rules_message(found: u32) -> String {
    format!(
        "the journal is under version {found} of the engine's rules, this program knows {} to {}; \
         use the release that activated it or a later one",
        RULES.start(),
        RULES.end()
    )
}
