//! Exit codes, as every verb uses them, and the one line that goes with a bad one.

use std::fmt;
use std::process::ExitCode;

/// Ran, and the answer is no or the work failed.
pub const FAILED: u8 = 1;
/// Usage or configuration error; strict order-script error.
pub const USAGE: u8 = 2;
/// Torn tail: nothing acknowledged is missing.
pub const TORN: u8 = 3;
/// Corruption, or a state hash that differs.
pub const CORRUPT: u8 = 4;
/// Fail-stop after an I/O error.
pub const IO_FAIL_STOP: u8 = 6;
/// Fail-stop after SIGBUS.
pub const SIGBUS_FAIL_STOP: u8 = 7;

/// Says on standard error what happened and gives the code.
pub fn with(code: u8, message: impl fmt::Display) -> ExitCode {
    eprintln!("tessera: {message}");
    ExitCode::from(code)
}

/// [`with`] the code [`FAILED`].
pub fn failed(message: impl fmt::Display) -> ExitCode {
    with(FAILED, message)
}
