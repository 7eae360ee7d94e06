use expect_test::{Expect, expect};

use super::*;

fn layers(file: &str, variables: &[(&str, &str)]) -> Result<Layers, ConfigError> {
    let mut layers = Layers::defaults();
    layers.add_file(Path::new("tessera.toml"), file)?;
    let owned = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    layers.add_environment(owned)?;
    Ok(layers)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "an expectation is written at the call"
)]
fn refused(file: &str, variables: &[(&str, &str)], expected: Expect) {
    let error = layers(file, variables).expect_err("this configuration is wrong");
    expected.assert_eq(&error.to_string());
}

#[test]
fn flag_goes_before_environment_before_file_before_default() {
    let file = "[journal]\nsegment_mib = 2\nrun_ahead_ms = 7\n\n[threads]\nshards = 3\n";
    let environment = [
        ("TESSERA__JOURNAL__SEGMENT_MIB", "4"),
        ("TESSERA__JOURNAL__RUN_AHEAD_MS", "8"),
        ("TESSERA__JOURNAL__DURABILITY", "strict"),
        ("TESSERA__LOG__FILTER", "warn"),
        ("RUST_LOG", "trace"),
        ("TESSERA_CREDENTIALS", "/keys"),
        ("PATH", "ignored"),
    ];
    let mut layers = layers(file, &environment).unwrap();
    assert_eq!(layers.required("journal.segment_mib", Some(5)).unwrap(), 5);
    assert_eq!(
        layers
            .required::<u64>("journal.run_ahead_ms", None)
            .unwrap(),
        8
    );
    assert_eq!(layers.required::<u16>("threads.shards", None).unwrap(), 3);
    assert!(!layers.required::<bool>("threads.spin", None).unwrap());
    assert_eq!(
        layers
            .required::<String>("journal.durability", None)
            .unwrap(),
        "strict"
    );
    assert_eq!(
        layers.optional::<String>("journal.data", None).unwrap(),
        None
    );
    let printed = layers.to_string();
    for line in [
        "segment_mib = 5 # flag --segment-mib",
        "run_ahead_ms = 8 # environment TESSERA__JOURNAL__RUN_AHEAD_MS",
        "shards = 3 # tessera.toml:6",
        "filter = \"warn\" # environment TESSERA__LOG__FILTER",
        "credentials = \"/keys\" # environment TESSERA_CREDENTIALS",
        "spin = false # default",
        "# data =",
    ] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
    // What is printed is a file that says the same.
    let again = self::layers(&printed, &[]).unwrap();
    for (key, (value, _)) in &layers.values {
        assert_eq!(Some(value), again.values.get(key).map(|(value, _)| value));
    }
}

#[test]
fn every_mistake_names_its_place() {
    refused(
        "[journal]\n\nsegmnt_mib = 3\n",
        &[],
        expect![
            "tessera.toml:3: unknown setting `journal.segmnt_mib`; the nearest known one is `journal.segment_mib`"
        ],
    );
    refused(
        "shards = 3\n",
        &[],
        expect![
            "tessera.toml:1: unknown setting `shards`; the nearest known one is `threads.shards`"
        ],
    );
    refused(
        "[threads]\nshards = \n",
        &[],
        expect![[r#"tessera.toml:2: string values must be quoted, expected literal string"#]],
    );
    refused(
        "",
        &[("TESSERA__THREADS__SHARD", "2")],
        expect![
            "environment TESSERA__THREADS__SHARD: unknown setting `threads.shard`; the nearest known one is `threads.shards`"
        ],
    );
    let mut layers = layers("[threads]\nshards = \"many\"\n", &[]).unwrap();
    let error = layers.required::<u16>("threads.shards", None).unwrap_err();
    expect![[r#"tessera.toml:2: `threads.shards`: invalid type: string "many", expected u16"#]]
        .assert_eq(&error.to_string());
    let error = layers
        .within("threads.shards", Some(17u16), 1..=16)
        .unwrap_err();
    expect!["flag --shards: `threads.shards`: 17 is not in 1 to 16"].assert_eq(&error.to_string());
    let error = layers
        .required::<PathBuf>("journal.data", None)
        .unwrap_err();
    expect!["`journal.data` is set nowhere: give --data, TESSERA__JOURNAL__DATA, or write it into tessera.toml"]
        .assert_eq(&error.to_string());
    let error = Layers::read(Some(Path::new("nowhere.toml"))).unwrap_err();
    expect!["nowhere.toml: No such file or directory (os error 2); `tessera serve --data DIR --print-config > nowhere.toml` writes one with every default and what it means"]
        .assert_eq(&error.to_string());
}
