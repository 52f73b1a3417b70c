//! Every sample of dhcpd.conf in etc/ is read as an administrator would have it read.

#![allow(clippy::unwrap_used, reason = "a test may say what it expects of its own set-up")]

use dhcpd::conf::{Diagnostic, Severity, SystemSources, load};
use dhcpd::config::Config;
use std::path::{Path, PathBuf};

fn samples() -> Vec<PathBuf> {
    let etc = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc");
    let mut samples: Vec<PathBuf> = std::fs::read_dir(etc)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("dhcpd.conf"))
        .collect();
    samples.sort();
    samples
}

fn read(path: &Path) -> (Config, Vec<Diagnostic>) {
    load(path.to_str().unwrap(), &mut SystemSources::new()).unwrap_or_else(|errors| {
        let errors: Vec<String> = errors.iter().map(Diagnostic::render).collect();
        panic!("{}", errors.join("\n"))
    })
}

fn named(name: &str) -> (Config, Vec<Diagnostic>) {
    let samples = samples();
    let path = samples.iter().find(|path| path.ends_with(name)).unwrap();
    read(path)
}

#[test]
fn all_of_them_are_right() {
    let samples = samples();
    assert!(samples.len() >= 3, "{samples:?}");
    for path in samples {
        read(&path);
    }
}

#[test]
fn those_of_openbsds_dialect_without_a_word() {
    for name in ["dhcpd.conf", "dhcpd.conf.office"] {
        let (_, warnings) = named(name);
        let warnings: Vec<String> = warnings.iter().map(Diagnostic::render).collect();
        assert_eq!(warnings, [""; 0]);
    }
}

#[test]
fn the_office_means_what_its_comments_say() {
    let (config, _) = named("dhcpd.conf.office");
    assert_eq!((config.networks.len(), config.subnets.len(), config.hosts.len()), (2, 3, 4));
    assert_eq!(config.networks[0].subnets, [0, 1]);
    assert_eq!(config.root.options.get(108), Some(&300u32.to_be_bytes()[..]));
    assert_eq!(config.subnets[0].settings.options.get(26), Some(&[5, 220][..]));
    assert_eq!(config.subnets[2].settings.unknown_clients, Some(false));
    assert_eq!(config.hosts[1].name, "build-2");
    assert_eq!(config.hosts[1].settings.use_host_decl_names, Some(true));
    assert_eq!(config.hosts[3].settings.filename.as_deref(), Some(&b"rescue"[..]));
    assert_eq!((config.vendor_classes.len(), config.user_classes.len()), (2, 1));
}

#[test]
fn of_iscs_dialect_the_rest_is_served() {
    let (config, warnings) = named("dhcpd.conf.isc-style");
    assert_eq!(config.subnets[0].ranges.len(), 2, "one of them in a pool");
    assert_eq!(config.hosts.len(), 1);
    assert_eq!(warnings.len(), 16);
    for warning in warnings {
        assert_eq!(warning.severity, Severity::Warning);
        assert!(warning.text.contains("is not supported yet"), "{}", warning.render());
    }
}
