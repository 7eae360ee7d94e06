//! Writes the risk report: `cargo xtask report risk`, or with a directory of one's own.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let out = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("docs/risk-report"), PathBuf::from);
    let data = tessera_risk::calibrate::shared_data();
    let say = |what: &str| eprintln!("report: {what}");
    match tessera_risk::report::generate(&out, data.as_deref(), &say) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}
