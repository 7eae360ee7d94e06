//! The arrows between packages that a reader can check from manifests alone, checked.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Who may name what in `[dependencies]` (dev-dependencies are free).
///
/// The left side is a dependency, the right side every package that may name it.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("quinn", &["tessera-gateway", "tessera-client"]),
    ("memmap2", &["tessera-journal"]),
    ("bincode", &["tessera-types"]),
    ("loom", &["tessera-ring"]),
    (
        "tessera-engine",
        &[
            "tessera",
            "tessera-tests",
            "tessera-benches",
            "tessera-bench-abi",
            "tessera-study",
        ],
    ),
    (
        "tessera-journal",
        &["tessera", "tessera-tests", "tessera-benches"],
    ),
    (
        "tokio",
        &[
            "tessera-gateway",
            "tessera-client",
            "tessera",
            "tessera-tests",
        ],
    ),
];

/// Every dependency that these packages may name.
const MAY_DEPEND: &[(&str, &[&str])] = &[
    ("tessera-types", &["bincode", "thiserror"]),
    (
        "tessera-engine",
        &[
            "tessera-types",
            "blake3",
            "foldhash",
            "hashbrown",
            "crc32c",
            "thiserror",
        ],
    ),
    ("tessera-ring", &["crossbeam", "thiserror"]),
    (
        "tessera-journal",
        &[
            "tessera-types",
            "blake3",
            "crc32c",
            "libc",
            "memmap2",
            "rustix",
            "thiserror",
            "rand",
        ],
    ),
    (
        "tessera-market-data",
        &["tessera-types", "crc32c", "thiserror"],
    ),
    ("tessera-bench-abi", &["tessera-types", "tessera-engine"]),
];

/// Fails with every arrow that should not be there.
pub(crate) fn check(root: &Path) -> Result<()> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut wrong = Vec::new();
    for package in metadata["packages"]
        .as_array()
        .context("no packages in cargo metadata")?
    {
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if !dependency["kind"].is_null() {
                continue; // dev and build dependencies
            }
            let on = dependency["name"].as_str().unwrap_or_default();
            wrong.extend(complaint(name, on));
        }
    }
    if !wrong.is_empty() {
        bail!(
            "arrows that ARCHITECTURE.md does not allow:\n  {}",
            wrong.join("\n  ")
        );
    }
    Ok(())
}

fn complaint(package: &str, on: &str) -> Option<String> {
    let find = |table: &[(&str, &'static [&'static str])], key: &str| {
        table.iter().find(|row| row.0 == key).map(|row| row.1)
    };
    if find(MAY_NAME, on).is_some_and(|who| !who.contains(&package)) {
        return Some(format!("{package} names {on}"));
    }
    if find(MAY_DEPEND, package).is_some_and(|what| !what.contains(&on)) {
        return Some(format!("{package} depends on {on}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn a_forbidden_arrow_is_named_and_an_allowed_one_is_not() {
        assert_eq!(
            complaint("tessera-engine", "tokio").as_deref(),
            Some("tessera-engine names tokio")
        );
        assert_eq!(
            complaint("tessera-engine", "serde").as_deref(),
            Some("tessera-engine depends on serde")
        );
        assert_eq!(complaint("tessera-gateway", "quinn"), None);
        assert_eq!(complaint("tessera", "serde"), None);
    }
}
